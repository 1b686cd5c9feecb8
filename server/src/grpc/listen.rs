//! Connections from a listener, over TLS if there is a certificate.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::warn;

use crate::grpc::stalled::ConnectionEnd;

/// The pause after an error of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// How connections are accepted.
#[derive(Clone)]
pub(crate) struct AcceptOptions {
    pub(crate) tls: Option<TlsAcceptor>,
    /// The number of connections that may still be accepted.
    pub(crate) connections: Arc<Semaphore>,
    /// Time for the first bytes of a connection, and for the handshake of TLS.
    pub(crate) time: Duration,
}

/// The connections of a listener, until the stream is dropped, which closes the listener.
pub(crate) fn connections(
    listener: TcpListener,
    options: AcceptOptions,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(accept(listener, options, sender));
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, options: AcceptOptions, sender: mpsc::Sender<io::Result<Connection>>) {
    loop {
        // Further connections wait in the system.
        let Ok(permit) = Arc::clone(&options.connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(open(stream, permit, options.clone(), sender.clone()));
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Sends on the connection of a client that has begun to speak.
async fn open(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    options: AcceptOptions,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let opening = async {
        stream.set_nodelay(true)?;
        let io: Box<dyn Io> = match options.tls {
            Some(tls) => Box::new(tls.accept(stream).await?),
            None => {
                stream.readable().await?;
                Box::new(stream)
            }
        };
        io::Result::Ok(Connection {
            io,
            end: ConnectionEnd::default(),
            _permit: permit,
        })
    };
    // A client that fails is not answered.
    if let Ok(Ok(connection)) = timeout(options.time, opening).await {
        let _stopping = sender.send(Ok(connection)).await;
    }
}

/// What a connection reads and writes.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, counted until it is dropped.
pub(crate) struct Connection {
    io: Box<dyn Io>,
    end: ConnectionEnd,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ConnectionEnd;

    fn connect_info(&self) -> ConnectionEnd {
        self.end.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.is_ordered(context.waker()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
