//! Outcomes of calls: each call has one answer, and the server's counters agree with what its clients saw.

use super::{Frame, Raw};
use boneyard::internal::wire::FrameKind;
use boneyard::server::RunningServer;
use boneyard::service::Status;
use serde::Serialize;
use std::collections::HashSet;
use std::io::Write;

/// The calls of one connection and their answers.
#[derive(Debug, Default)]
pub struct Outcomes {
    out: HashSet<u64>,
    answers: Answers,
    sent: u64,
}

/// Answers by [`Status::index`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers([u64; Status::ALL.len()]);

impl Outcomes {
    /// Calls that are not answered yet.
    pub fn out(&self) -> usize {
        self.out.len()
    }

    /// Records a call that was sent.
    pub fn sent(&mut self, id: u64) {
        assert!(self.out.insert(id), "call {id} is out already");
        self.sent += 1;
    }

    /// Makes one call, which has a deadline if that is not 0.
    pub fn call<T: Serialize>(&mut self, client: &mut Raw, method: &str, arguments: &T, ms: u32) -> u64 {
        let (id, frame) = client.frame(method, arguments, ms);
        self.send(client, [(id, frame)]);
        id
    }

    /// Makes `count` calls in one write.
    pub fn calls<T: Serialize>(&mut self, client: &mut Raw, count: usize, method: &str, arguments: &T) {
        let calls: Vec<_> = (0..count).map(|_| client.frame(method, arguments, 0)).collect();
        self.send(client, calls);
    }

    /// Sends frames that hold these calls.
    pub fn send(&mut self, client: &mut Raw, calls: impl IntoIterator<Item = (u64, Vec<u8>)>) {
        let mut bytes = Vec::new();
        for (id, frame) in calls {
            self.sent(id);
            bytes.extend(frame);
        }
        client.stream.write_all(&bytes).unwrap();
    }

    /// Records a Reply, which must be the first to its call.
    pub fn answered(&mut self, frame: &Frame) -> Status {
        assert_eq!(frame.header.kind, FrameKind::Reply);
        let (call, status) = (frame.header.call, frame.status());
        assert!(self.out.remove(&call), "call {call} was answered twice or never made: {status:?}");
        self.answers.0[status.index()] += 1;
        status
    }

    /// Reads one answer.
    pub fn read(&mut self, client: &mut Raw) -> Status {
        let frame = client.read().expect("a call that is out is answered");
        self.answered(&frame)
    }

    /// Reads until no call is out.
    pub fn settle(&mut self, client: &mut Raw) {
        while self.out() > 0 {
            self.read(client);
        }
    }

    /// Calls that were sent.
    pub fn made(&self) -> u64 {
        self.sent
    }

    /// Answers by status.
    pub fn answers(&self) -> Answers {
        self.answers
    }
}

impl Answers {
    /// The answers of a server over all its ports.
    pub fn of(server: &RunningServer) -> Answers {
        let answered = |status| server.ports().iter().map(|port| port.stats().answered(status)).sum();
        Answers(Status::ALL.map(answered))
    }

    pub fn with(&self, status: Status) -> u64 {
        self.0[status.index()]
    }

    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn add(&mut self, other: Answers) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// How many more answers there are than in `fewer`, which has no more of any status.
    pub fn more_than(&self, fewer: Answers) -> u64 {
        let more = Status::ALL.map(|status| {
            let (here, there) = (self.with(status), fewer.with(status));
            here.checked_sub(there).unwrap_or_else(|| panic!("{status:?}: {here}, and there are {there}"))
        });
        more.iter().sum()
    }
}
