//! The crate thrift: a server of its own threads, each of which serves one connection to its end. Binary protocol over
//! buffered transports, by hand what its code generator would write. One call at a time is out on a connection.

use crate::load_count::{Count, Failure, Method, Plan, Span};
use crate::{SLEEP, outcome};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryInputProtocolFactory, TBinaryOutputProtocol, TBinaryOutputProtocolFactory,
    TFieldIdentifier, TInputProtocol, TMessageIdentifier, TMessageType, TOutputProtocol, TStructIdentifier,
    TType,
};
use thrift::server::{TProcessor, TServer};
use thrift::transport::{
    TBufferedReadTransport, TBufferedReadTransportFactory, TBufferedWriteTransport,
    TBufferedWriteTransportFactory, TIoChannel, TTcpChannel,
};

/// Wait for callers that were never answered, once the time is over.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

struct Processor;

impl TProcessor for Processor {
    fn process(
        &self,
        input: &mut dyn TInputProtocol,
        output: &mut dyn TOutputProtocol,
    ) -> thrift::Result<()> {
        let message = input.read_message_begin()?;
        let payload = read_payload(input)?;
        input.read_message_end()?;
        if message.name == "sleep" {
            std::thread::sleep(SLEEP);
        }
        let number = message.sequence_number;
        write_message(output, &message.name, TMessageType::Reply, number, 0, &payload)
    }
}

/// A struct whose one field is bytes.
fn read_payload(input: &mut dyn TInputProtocol) -> thrift::Result<Vec<u8>> {
    let mut payload = Vec::new();
    input.read_struct_begin()?;
    loop {
        let field = input.read_field_begin()?;
        match field.field_type {
            TType::Stop => break,
            TType::String => payload = input.read_bytes()?,
            other => input.skip(other)?,
        }
        input.read_field_end()?;
    }
    input.read_struct_end()?;
    Ok(payload)
}

fn write_message(
    output: &mut dyn TOutputProtocol,
    name: &str,
    kind: TMessageType,
    number: i32,
    field: i16,
    payload: &[u8],
) -> thrift::Result<()> {
    output.write_message_begin(&TMessageIdentifier::new(name, kind, number))?;
    output.write_struct_begin(&TStructIdentifier::new("Payload"))?;
    output.write_field_begin(&TFieldIdentifier::new("payload", TType::String, field))?;
    output.write_bytes(payload)?;
    output.write_field_end()?;
    output.write_field_stop()?;
    output.write_struct_end()?;
    output.write_message_end()?;
    output.flush()
}

pub(crate) fn serve(address: SocketAddr, workers: usize) -> Result<(), Failure> {
    let mut server = TServer::new(
        TBufferedReadTransportFactory::new(),
        TBinaryInputProtocolFactory::new(),
        TBufferedWriteTransportFactory::new(),
        TBinaryOutputProtocolFactory::new(),
        Processor,
        workers,
    );
    Ok(server.listen(address)?)
}

/// A thread for each connection: the client blocks.
pub(crate) fn load(plan: &Plan) -> Result<Count, Failure> {
    let (sender, receiver) = mpsc::channel();
    // Connections that were answered at least once.
    let answered = Arc::new(AtomicUsize::new(0));
    let mut channels = Vec::new();
    for _ in 0..plan.connections {
        let mut channel = TTcpChannel::new();
        channel.open(plan.address)?;
        channels.push(channel);
    }
    let span = Span::from_now(plan);
    for channel in channels {
        let (sender, answered, plan) = (sender.clone(), Arc::clone(&answered), plan.clone());
        let caller = move || {
            // Too late if nothing receives it any more.
            let _ = sender.send(caller(channel, &plan, span, &answered).unwrap_or_default());
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(caller)?;
    }
    std::thread::sleep(span.end.saturating_duration_since(Instant::now()) + LAST_ANSWERS);
    // Callers whose connection no thread of the server accepted wait for ever; they are counted and abandoned.
    let parts = receiver.try_iter().collect();
    Ok(Count::merge(parts, plan.connections - answered.load(Ordering::Relaxed), plan))
}

fn caller(channel: TTcpChannel, plan: &Plan, span: Span, answered: &AtomicUsize) -> thrift::Result<Count> {
    let (reader, writer) = channel.split()?;
    let mut input = TBinaryInputProtocol::new(TBufferedReadTransport::new(reader), true);
    let mut output = TBinaryOutputProtocol::new(TBufferedWriteTransport::new(writer), true);
    let payload = vec![b'x'; plan.payload];
    let name = if plan.method == Method::Sleep { "sleep" } else { "echo" };
    let (mut count, mut number) = (Count::default(), 0);
    loop {
        number += 1;
        let start = Instant::now();
        write_message(&mut output, name, TMessageType::Call, number, 1, &payload)?;
        let message = input.read_message_begin()?;
        let answer = read_payload(&mut input)?;
        input.read_message_end()?;
        // Later answers are those to callers that took the place of one that had ended.
        if number == 1 && Instant::now() < span.end {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        let good = message.sequence_number == number && answer.len() == plan.payload;
        if !count.add(&span, start, outcome(good)) {
            return Ok(count);
        }
    }
}
