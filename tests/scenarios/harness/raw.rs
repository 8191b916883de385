//! Bytes as they are: for what hyper would mend, hide or not say.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A connection on which every byte is the test's own.
pub(crate) struct Raw<T = TcpStream> {
    stream: T,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// The next connection of a listener.
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    pub(crate) fn over(stream: T) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// What comes up to and with `end`; what comes behind it stays for the next call.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.read.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                let text = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(text).unwrap();
            }
            let more = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
            assert!(more > 0, "the connection ended before {end:?}: {}", self.read.escape_ascii());
        }
    }

    /// A head, in lower case.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await.to_ascii_lowercase()
    }

    /// All that comes until the connection ends, however it does; bytes that are no text are replaced.
    pub(crate) async fn rest(mut self) -> String {
        while self.stream.read_buf(&mut self.read).await.is_ok_and(|more| more > 0) {}
        String::from_utf8_lossy(&self.read).into_owned()
    }
}
