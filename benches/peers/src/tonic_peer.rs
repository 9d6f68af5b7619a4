//! tonic with a hand-written service of raw bytes: no code generator, and no protobuf to be measured with it.

use crate::load_count::{Count, Failure, Method, Plan, Span, gather};
use crate::{Place, outcome, run};
use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

const ECHO: &str = "/peer.Peer/Echo";
const SLEEP: &str = "/peer.Peer/Sleep";

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// What a code generator would write: calls by path.
#[derive(Debug, Clone)]
struct Service(Place);

impl tower_service::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = if request.uri().path() == SLEEP { Method::Sleep } else { Method::Echo };
        let handler = Handler { place: self.0, method };
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(handler, request).await) })
    }
}

#[derive(Debug)]
struct Handler {
    place: Place,
    method: Method,
}

impl tonic::server::UnaryService<Bytes> for Handler {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (place, method) = (self.place, self.method);
        Box::pin(async move {
            let answer = run(place, method, request.into_inner().into()).await;
            Ok(Response::new(Bytes::from(answer)))
        })
    }
}

pub(crate) async fn serve(address: SocketAddr, place: Place) -> Result<(), Failure> {
    Ok(Server::builder().tcp_nodelay(true).serve(address, Service(place)).await?)
}

pub(crate) async fn load(plan: &Plan) -> Result<Count, Failure> {
    let mut channels = Vec::new();
    for _ in 0..plan.connections {
        let endpoint = Endpoint::from_shared(format!("http://{}", plan.address))?;
        channels.push(endpoint.tcp_nodelay(true).connect().await?);
    }
    let span = Span::from_now(plan);
    let mut tasks = Vec::new();
    for channel in channels {
        for _ in 0..plan.out {
            tasks.push(tokio::spawn(caller(channel.clone(), plan.method, plan.payload, span)));
        }
    }
    gather(tasks, plan).await
}

async fn caller(channel: Channel, method: Method, bytes: usize, span: Span) -> Count {
    let path = PathAndQuery::from_static(if method == Method::Sleep { SLEEP } else { ECHO });
    let payload = Bytes::from(vec![b'x'; bytes]);
    let mut client = tonic::client::Grpc::new(channel);
    let mut count = Count::default();
    loop {
        let start = Instant::now();
        let answer = match client.ready().await {
            Ok(()) => client.unary(Request::new(payload.clone()), path.clone(), Raw).await.ok(),
            Err(_) => None,
        };
        if !count.add(&span, start, outcome(answer.is_some_and(|answer| answer.into_inner().len() == bytes)))
        {
            return count;
        }
    }
}
