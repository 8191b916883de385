//! Connections to a Redis: its address, TCP, TLS or unix socket, the greeting, and one reply after the other. Which
//! server that is, where there are several, [`place`] says.
//!
//! Invariant: nothing is read that nobody waits for, and of one reply at most [`MAX_REPLY`] bytes: who sends faster than
//! is listened to is held back by the socket, and memory does not grow. Every step has a deadline but waiting for a
//! reply, whose deadline only the caller knows. It refuses to know what is asked and what is said.

mod cluster;
pub mod place;
mod sentinel;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError, Value,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::redis::place::Term;

/// Most bytes of one reply; a server that sends more is left.
pub const MAX_REPLY: u64 = 16 << 20;

/// Longest time for name, connection, TLS and greeting together, and for a command to be taken.
pub const CONNECT: Duration = Duration::from_secs(5);

/// Silence after which the system asks the other end whether it is still there, and the pause between such questions.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Most characters of a server's complaint that are repeated.
const COMPLAINT: usize = 200;

/// Delay before the first new attempt after a failure; twice as long after each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Longest delay between two attempts.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Where a Redis is, and as whom to greet it.
#[derive(Clone)]
pub struct Address(ConnectionInfo);

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
pub enum BadAddress {
    /// No URL of a Redis; the text may hold a password and is not repeated.
    #[error("this is not the URL of a Redis, as redis://user:password@host:6379 is: {0}")]
    Malformed(String),
    /// `rediss://…#insecure`.
    #[error(
        "certificates are always checked: `#insecure` is not supported (SSL_CERT_FILE names authorities of your own)"
    )]
    Insecure,
}

impl Address {
    /// Reads `redis://`, `rediss://` (TLS), `unix:` or `redis+unix:`, with user, password and database number.
    ///
    /// # Errors
    /// [`BadAddress`].
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let said = |why: &RedisError| why.to_string().split(" - ").next().unwrap_or_default().to_owned();
        let info = url.into_connection_info().map_err(|why| BadAddress::Malformed(said(&why)))?;
        match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(BadAddress::Insecure),
            ConnectionAddr::TcpTls { host, .. } if server_name(host).is_err() => {
                Err(BadAddress::Malformed("the host is no name that a certificate can carry".into()))
            }
            _ => Ok(Self(info)),
        }
    }

    /// The same place, but greeted as this user, for this database; without a password nobody is greeted.
    pub fn greeted_as(&self, user: Option<&str>, password: Option<&str>, database: i64) -> Self {
        let mut whom = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = user {
            whom = whom.set_username(user);
        }
        if let Some(password) = password {
            whom = whom.set_password(password);
        }
        Self(self.0.clone().set_redis_settings(whom))
    }

    /// Another server that is reached and greeted alike. `None`: no host has that name, or this one is a socket.
    pub fn at(&self, host: &str, port: u16) -> Option<Self> {
        let addr = match self.0.addr() {
            ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(host.to_owned(), port),
            ConnectionAddr::TcpTls { insecure, tls_params, .. } if server_name(host).is_ok() => {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure, tls_params }
            }
            _ => return None,
        };
        Some(Self(self.0.clone().set_addr(addr)))
    }

    /// Whether it is asked for TLS.
    pub fn wants_tls(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Whether it is a socket of this machine.
    pub fn is_unix(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::Unix(_))
    }

    /// The database that it names; 0 is selected anyway.
    pub fn database(&self) -> i64 {
        self.0.redis_settings().db()
    }

    /// Whether both are greeted with the same user and password.
    pub fn is_greeted_like(&self, other: &Self) -> bool {
        let whom = |address: &Self| {
            let whom = address.0.redis_settings();
            (whom.username().map(str::to_owned), whom.password().map(str::to_owned))
        };
        whom(self) == whom(other)
    }

    fn host(&self) -> &str {
        match self.0.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        }
    }
}

/// The same place, and the same user and database.
impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.addr() == other.0.addr() && self.is_greeted_like(other) && self.database() == other.database()
    }
}

impl Eq for Address {}

impl fmt::Display for Address {
    /// Without user and password: `rediss://cache.example.com:6379`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host, port),
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host, port),
            other => return write!(f, "unix:{other}"),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Why there is no connection, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No name, nobody listens, no TLS.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// [`CONNECT`] has passed.
    #[error("it did not answer within {CONNECT:?}")]
    Timeout,
    /// The server said no; a wrong password, a missing permission.
    #[error("it refuses: {0}")]
    Refused(String),
    /// The connection ended.
    #[error("the connection ended{0}")]
    Ended(String),
    /// A reply larger than [`MAX_REPLY`].
    #[error("it sent more than {MAX_REPLY} bytes at once")]
    Oversized,
    /// No reply of a Redis.
    #[error("it does not speak as a Redis does: {0}")]
    Malformed(String),
    /// It follows another one, where a primary was asked for.
    #[error("{0} is not the primary")]
    NoPrimary(String),
    /// Another server has become primary since the connection was made.
    #[error("another server is the primary now")]
    Moved,
}

/// Makes connections; holds what TLS needs for them.
struct Dialer {
    tls: Option<TlsConnector>,
}

impl Dialer {
    /// Loads the machine's root certificates (or `SSL_CERT_FILE`'s) for TLS; connects to nobody.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if there are none.
    fn new(wants_tls: bool) -> Result<Self, Error> {
        let tls = wants_tls.then(connector).transpose().map_err(Error::Unreachable)?;
        Ok(Self { tls })
    }

    /// A connection that has been greeted with user and password, within [`CONNECT`]. No database is selected:
    /// channels belong to none.
    ///
    /// # Errors
    /// [`Error`].
    async fn connect(&self, address: &Address) -> Result<Connection, Error> {
        let greeted = async {
            let mut connection = Connection::over(self.dial(address).await.map_err(Error::Unreachable)?);
            connection.greet(&address.0).await?;
            Ok(connection)
        };
        timeout(CONNECT, greeted).await.unwrap_or(Err(Error::Timeout))
    }

    async fn dial(&self, address: &Address) -> io::Result<Box<dyn Socket>> {
        match address.0.addr() {
            ConnectionAddr::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            ConnectionAddr::Tcp(host, port) => Ok(Box::new(tcp(host, *port).await?)),
            ConnectionAddr::TcpTls { host, port, .. } => {
                let tls = self.tls.as_ref().ok_or_else(|| io::Error::other("TLS was not prepared"))?;
                let name = server_name(host).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, tcp(host, *port).await?).await?))
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A greeted connection. Dropped, it is closed.
pub struct Connection {
    replies: BoxStream<'static, Result<Value, Error>>,
    writer: WriteHalf<Box<dyn Socket>>,
    /// As long as its server is the primary; `None`: nobody says whether it is.
    term: Option<Term>,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Connection {
    fn over(socket: Box<dyn Socket>) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        Self { replies: replies(reader), writer, term: None }
    }

    /// Whether its server is still the primary, as far as anybody here knows.
    pub fn is_current(&self) -> bool {
        self.term.as_ref().is_none_or(Term::lasts)
    }

    /// Sends a command; its reply comes in its turn.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Timeout`], [`Error::Moved`]; the connection is of no use any more.
    pub async fn send(&mut self, command: &Cmd) -> Result<(), Error> {
        self.send_packed(&command.get_packed_command()).await
    }

    /// Sends commands as they are written on the wire; each has its reply.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_packed(&mut self, packed: &[u8]) -> Result<(), Error> {
        if !self.is_current() {
            return Err(Error::Moved);
        }
        let write = async {
            self.writer.write_all(packed).await?;
            self.writer.flush().await
        };
        let written = timeout(CONNECT, write).await.map_err(|_| Error::Timeout)?;
        written.map_err(|why| Error::Ended(format!(": {why}")))
    }

    /// The next reply, a complaint of the server among them. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error`]; no reply comes after it. [`Error::Moved`] as soon as another server is the primary.
    pub async fn reply(&mut self) -> Result<Value, Error> {
        tokio::select! {
            // What was answered counts: its server was the primary when it was asked.
            biased;
            reply = self.replies.next() => reply.unwrap_or_else(|| Err(Error::Ended(String::new()))),
            () = place::is_over(&mut self.term) => Err(Error::Moved),
        }
    }

    /// The reply to this command, where no other is awaited.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::reply`].
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, Error> {
        self.send(command).await?;
        self.reply().await
    }

    async fn greet(&mut self, info: &ConnectionInfo) -> Result<(), Error> {
        let settings = info.redis_settings();
        let Some(password) = settings.password() else { return Ok(()) };
        let mut auth = redis::cmd("AUTH");
        if let Some(user) = settings.username() {
            auth.arg(user);
        }
        match self.ask(auth.arg(password)).await? {
            Value::ServerError(why) => Err(refused(&why)),
            _ => Ok(()),
        }
    }
}

/// How long to wait after `failures` (at least one) in a row: between half and all of a time that doubles up to
/// [`LONGEST_BACKOFF`]. `random` spreads those who failed together.
pub fn backoff(failures: u32, random: u64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(LONGEST_BACKOFF);
    whole / 2 + whole.mul_f64((random % 1024) as f64 / 2048.0)
}

/// What the server complains of, fit for a line of a log.
pub fn refused(why: &redis::ServerError) -> Error {
    let text = format!("{} {}", why.code(), why.details().unwrap_or_default());
    Error::Refused(text.trim_end().chars().take(COMPLAINT).flat_map(char::escape_debug).collect())
}

/// One reply after the other, until the first error. All that is half read lives in the stream, so whoever stops
/// waiting for a reply loses nothing of it.
fn replies(reader: ReadHalf<Box<dyn Socket>>) -> BoxStream<'static, Result<Value, Error>> {
    let state = Some((Default::default(), reader.take(MAX_REPLY)));
    stream::unfold(state, |state| async move {
        let (mut decoder, mut reader) = state?;
        reader.set_limit(MAX_REPLY);
        match redis::parse_redis_value_async(&mut decoder, &mut reader).await {
            Ok(value) => Some((Ok(value), Some((decoder, reader)))),
            Err(_) if reader.limit() == 0 => Some((Err(Error::Oversized), None)),
            Err(why) if why.is_io_error() => Some((Err(Error::Ended(format!(": {why}"))), None)),
            Err(why) => Some((Err(Error::Malformed(why.to_string())), None)),
        }
    })
    .boxed()
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream)
        .set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    Ok(stream)
}

fn server_name(host: &str) -> Result<ServerName<'static>, impl std::error::Error + Send + Sync + 'static> {
    ServerName::try_from(host.to_owned())
}

fn connector() -> io::Result<TlsConnector> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        return Err(io::Error::other("no root certificates found"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        for (url, shown) in [
            ("redis://cache.example.com", "redis://cache.example.com:6379"),
            ("redis://ann:s3cret@[::1]:7000/3", "redis://[::1]:7000"),
            ("rediss://:s3cret@cache.example.com", "rediss://cache.example.com:6379"),
            ("valkey://h:1", "redis://h:1"),
            ("unix:///run/redis.sock?pass=s3cret", "unix:/run/redis.sock"),
            ("redis+unix:///run/redis.sock?user=ann&pass=s3cret&db=2", "unix:/run/redis.sock"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for url in [
            "",
            "s3cret",
            "http://:s3cret@h",
            "redis://:s3cret@",
            "redis://:s3cret@h/many",
            "redis://:s3cret@h:99999",
            "rediss://:s3cret@h#insecure",
            "rediss://:s3cret@h_/#x",
        ] {
            let why = Address::parse(url).expect_err(url).to_string();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_differ() {
        let between = |failures| (backoff(failures, 0), backoff(failures, 1023));
        assert_eq!(between(1).0, FIRST_BACKOFF / 2);
        assert!(between(1).1 <= FIRST_BACKOFF && between(1).1 > FIRST_BACKOFF * 9 / 10);
        assert_eq!(between(3).0, FIRST_BACKOFF * 2);
        for failures in [7, 40, u32::MAX] {
            assert_eq!(between(failures).0, LONGEST_BACKOFF / 2);
            assert!(between(failures).1 <= LONGEST_BACKOFF);
        }
    }

    fn connection(server_says: &'static [u8]) -> Connection {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { theirs.write_all(server_says).await });
        Connection::over(Box::new(ours))
    }

    #[tokio::test]
    async fn replies_come_one_by_one_and_complaints_are_replies() {
        let mut connection = connection(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n-NOPERM not you\r\n:7\r\n");
        assert!(matches!(connection.reply().await, Ok(Value::Array(_))));
        let Ok(Value::ServerError(why)) = connection.reply().await else { panic!("a complaint") };
        assert_eq!(refused(&why).to_string(), "it refuses: NOPERM not you");
        assert!(matches!(connection.reply().await, Ok(Value::Int(7))));
        assert!(matches!(connection.reply().await, Err(Error::Ended(_))));
        assert!(matches!(connection.reply().await, Err(Error::Ended(_))), "and for good");
    }

    #[tokio::test]
    async fn what_no_redis_says_ends_the_connection() {
        for says in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"*1\r\n*99999999999999999999\r\n"] {
            assert!(
                matches!(connection(says).reply().await, Err(Error::Malformed(_))),
                "{}",
                says.escape_ascii()
            );
        }
        let announced = connection(b"*1000000000\r\n+a\r\n").reply().await;
        assert!(announced.is_err(), "what is announced takes no memory before it comes");
        let deep: &[u8] = b"*1\r\n".repeat(10_000).leak();
        assert!(matches!(connection(deep).reply().await, Err(Error::Malformed(_))));
    }

    #[tokio::test]
    async fn a_reply_that_does_not_end_is_not_kept() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let endless = tokio::spawn(async move {
            theirs.write_all(b"$500000000\r\n").await?;
            let mut sent = 0;
            while theirs.write_all(&[b'x'; 1 << 16]).await.is_ok() {
                sent += 1 << 16;
            }
            io::Result::Ok(sent)
        });
        let mut connection = Connection::over(Box::new(ours));
        assert!(matches!(connection.reply().await, Err(Error::Oversized)));
        drop(connection);
        assert!(endless.await.unwrap().unwrap() < MAX_REPLY + (1 << 18));
    }

    #[tokio::test]
    async fn who_stops_waiting_for_a_reply_loses_nothing_of_it() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::over(Box::new(ours));
        for piece in [&b"$12\r\nfirst"[..], b" second", b""] {
            assert!(futures_util::FutureExt::now_or_never(connection.reply()).is_none());
            theirs.write_all(piece).await.unwrap();
        }
        assert!(futures_util::FutureExt::now_or_never(connection.reply()).is_none());
        theirs.write_all(b"\r\n").await.unwrap();
        let Ok(Value::BulkString(text)) = connection.reply().await else { panic!("one reply") };
        assert_eq!(text, b"first second");
    }
}
