//! tarpc over TCP with bincode, its fastest codec.

use crate::load_count::{Count, Failure, Method, Plan, Span, gather};
use crate::{Place, outcome, run};
use futures::{Future, StreamExt};
use serde_bytes::ByteBuf;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;

#[tarpc::service]
trait Peer {
    async fn echo(payload: ByteBuf) -> ByteBuf;
    async fn sleep(payload: ByteBuf) -> ByteBuf;
}

#[derive(Debug, Clone)]
struct Handlers(Place);

impl Peer for Handlers {
    async fn echo(self, _: Context, payload: ByteBuf) -> ByteBuf {
        ByteBuf::from(run(self.0, Method::Echo, payload.into_vec()).await)
    }
    async fn sleep(self, _: Context, payload: ByteBuf) -> ByteBuf {
        ByteBuf::from(run(self.0, Method::Sleep, payload.into_vec()).await)
    }
}

pub(crate) async fn serve(address: SocketAddr, place: Place) -> Result<(), Failure> {
    let mut incoming = tarpc::serde_transport::tcp::listen(address, Bincode::default).await?;
    while let Some(transport) = incoming.next().await {
        let Ok(transport) = transport else { continue };
        // Set on the accepted socket as on all others here.
        transport.get_ref().set_nodelay(true)?;
        let channel = BaseChannel::with_defaults(transport);
        tokio::spawn(channel.execute(Handlers(place).serve()).for_each(spawn));
    }
    Ok(())
}

async fn spawn(call: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(call);
}

pub(crate) async fn load(plan: &Plan) -> Result<Count, Failure> {
    let mut clients = Vec::new();
    for _ in 0..plan.connections {
        let transport = tarpc::serde_transport::tcp::connect(plan.address, Bincode::default).await?;
        transport.get_ref().set_nodelay(true)?;
        clients.push(PeerClient::new(tarpc::client::Config::default(), transport).spawn());
    }
    let span = Span::from_now(plan);
    let mut tasks = Vec::new();
    for client in clients {
        for _ in 0..plan.out {
            tasks.push(tokio::spawn(caller(client.clone(), plan.method, plan.payload, span)));
        }
    }
    gather(tasks, plan).await
}

async fn caller(client: PeerClient, method: Method, bytes: usize, span: Span) -> Count {
    let mut count = Count::default();
    loop {
        let payload = ByteBuf::from(vec![b'x'; bytes]);
        let start = Instant::now();
        let mut context = context::current();
        context.deadline = start + Duration::from_secs(60);
        let answer = match method {
            Method::Echo => client.echo(context, payload).await,
            Method::Sleep => client.sleep(context, payload).await,
        };
        if !count.add(&span, start, outcome(answer.is_ok_and(|answer| answer.len() == bytes))) {
            return count;
        }
    }
}
