//! Lingering close of a connection: sends the refusal, if there is one, and waits up to 1 s for the peer to close.
//!
//! Closing while data of the peer is unread would reset the connection, possibly before the peer has read the response.
//! `server/listener/lingering_close.rs` does the same for refused connections of a port, on mio instead of tokio.

use std::io::Error;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest wait for the peer to close.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Bytes of the peer that are read meanwhile.
const READ_BYTES_MAX: usize = 1 << 20;

/// Sends `refusal`, shuts down the write side, and reads until the peer closes.
pub(super) async fn linger_close(mut stream: impl AsyncRead + AsyncWrite + Unpin, refusal: Option<&str>) {
    let close = async {
        if let Some(refusal) = refusal {
            stream.write_all(refusal.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let (mut buffer, mut left) = ([0; 4096], READ_BYTES_MAX);
        while left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), Error>(())
    };
    // An error or a time-out ends it as well.
    drop(timeout(WAIT_MAX, close).await);
}
