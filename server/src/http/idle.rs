//! Timeouts of clients that send or read nothing.

use std::io::{Error, ErrorKind};
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::stream::Stream;
use tokio::time::{Sleep, sleep};

/// The chunks of a body, and an error once none has arrived for the limit.
pub(crate) struct IdleTimeout<S> {
    input: S,
    limit: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl<S> IdleTimeout<S> {
    pub(crate) fn new(input: S, limit: Duration) -> Self {
        Self {
            input,
            limit,
            silence: None,
        }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for IdleTimeout<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(chunk) = Pin::new(&mut self.input).poll_next(context) {
            self.silence = None;
            return Poll::Ready(chunk);
        }
        let limit = self.limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(silence.as_mut().poll(context));
        self.silence = None;
        Poll::Ready(Some(Err(PayloadError::Io(Error::from(ErrorKind::TimedOut)))))
    }
}

/// Sets a timeout on every connection that the listener accepts: the system closes a connection whose client reads
/// nothing for the limit.
///
/// The server cannot notice it, since it writes only when the socket has space. (`TCP_USER_TIMEOUT`, RFC 5482. Linux
/// counts from the first probe of a closed window, and accepted connections inherit it.) Other systems have no such option: there,
/// the connection stays open until the client reads or leaves.
pub(crate) fn give_up_on_clients_that_do_not_read(
    listener: &TcpListener,
    limit: Duration,
) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(limit))?;
    #[cfg(not(target_os = "linux"))]
    let _unsupported = (listener, limit);
    Ok(())
}
