//! A real `redis-server`, a child of the test: killed, stopped, started again.
//!
//! Its port lies below those that the system hands out, and nobody else gets it while it is down. Everything here blocks:
//! Redis is another process and answers at once, unless a test has stopped it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Longest wait for a server to answer, and for an answer of it.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);

/// A `redis-server` on a port of its own. Dropped, it is gone.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    pub(crate) folder: TempDir,
    _reserved: File,
}

impl Redis {
    /// Starts one that has `arguments` besides its port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), arguments)
    }

    /// Starts one that speaks TLS as well, with `cert.pem` and `key.pem` of `folder`; gives the port for that.
    #[allow(dead_code, reason = "no scenario needs it; tests/process does")]
    pub(crate) fn start_tls(folder: TempDir) -> (Self, u16) {
        let (port, _reserved) = reserve_port();
        let files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no"];
        let port_argument = port.to_string();
        let arguments =
            [&["--tls-port", &port_argument, "--tls-ca-cert-file", "cert.pem"], &files[..]].concat();
        (Self::in_folder(folder, &arguments), port)
    }

    fn in_folder(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (port, _reserved) = reserve_port();
        let child = launch(port, &arguments, &folder);
        let redis = Self { child, port, arguments, folder, _reserved };
        redis.answers();
        redis
    }

    /// A port on which one will listen after [`Absent::appear`].
    pub(crate) fn absent() -> Absent {
        let (port, reserved) = reserve_port();
        Absent { port, reserved }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Publishes; gives how many heard it.
    pub(crate) fn publish(&self, channel: &str, message: impl AsRef<[u8]>) -> u64 {
        redis::cmd("PUBLISH").arg(channel).arg(message.as_ref()).query(&mut self.connection()).unwrap()
    }

    /// Publishes all of them on one connection.
    pub(crate) fn publish_all<M: AsRef<[u8]>>(&self, channel: &str, messages: impl Iterator<Item = M>) {
        let mut connection = self.connection();
        let messages: Vec<M> = messages.collect();
        for messages in messages.chunks(500) {
            let mut pipeline = redis::pipe();
            for message in messages {
                pipeline.cmd("PUBLISH").arg(channel).arg(message.as_ref()).ignore();
            }
            let () = pipeline.query(&mut connection).unwrap();
        }
    }

    /// Any command, its words separated by spaces.
    pub(crate) fn command(&self, words: &str) -> redis::Value {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection()).unwrap()
    }

    /// How many subscriptions of `channel` there are now; a pattern is none.
    pub(crate) fn subscribers(&self, channel: &str) -> u64 {
        let mut numbers = redis::cmd("PUBSUB");
        let (_, subscribers): (String, u64) =
            numbers.arg("NUMSUB").arg(channel).query(&mut self.connection()).unwrap();
        subscribers
    }

    /// For how many seconds the client that has subscribed has said nothing.
    pub(crate) fn idle_subscriber(&self) -> u64 {
        let mut list = redis::cmd("CLIENT");
        let clients: String =
            list.arg("LIST").arg("TYPE").arg("pubsub").query(&mut self.connection()).unwrap();
        let idle = clients.split(' ').find_map(|field| field.strip_prefix("idle="));
        idle.expect("somebody listens").parse().unwrap()
    }

    /// Kills it, as a machine that fails does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Self::kill`], on the same port.
    pub(crate) fn restart(&mut self) {
        self.child = launch(self.port, &self.arguments, &self.folder);
        self.answers();
    }

    /// Sends it a signal by its name (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn connection(&self) -> redis::Connection {
        let connection =
            redis::Client::open(self.url()).unwrap().get_connection_with_timeout(PATIENCE).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Waits until this very child answers on its port.
    fn answers(&self) {
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            let info = redis::Client::open(self.url())
                .unwrap()
                .get_connection()
                .and_then(|mut connection| redis::cmd("INFO").arg("server").query::<String>(&mut connection));
            if let Ok(info) = info {
                assert!(info.contains(&format!("process_id:{}\r", self.child.id())), "not ours: {info}");
                return;
            }
            thread::sleep(STEP);
        }
        panic!("redis-server does not answer on {}", self.address());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Both fail on one that was killed and joined, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port on which nobody listens yet.
pub(crate) struct Absent {
    port: u16,
    reserved: File,
}

impl Absent {
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn appear(self) -> Redis {
        let folder = tempfile::tempdir().unwrap();
        let child = launch(self.port, &[], &folder);
        let redis = Redis { child, port: self.port, arguments: Vec::new(), folder, _reserved: self.reserved };
        redis.answers();
        redis
    }
}

fn launch(port: u16, arguments: &[String], folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (Debian: apt-get install redis-server)")
}

/// A free port, and what keeps other tests away from it.
fn reserve_port() -> (u16, File) {
    let first = std::process::id() % 10_000;
    for offset in 0..10_000 {
        let port = 20_000 + u16::try_from((first * 7 + offset) % 10_000).unwrap();
        let lock = File::create(std::env::temp_dir().join(format!("larder-test-port-{port}"))).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return (port, lock);
        }
    }
    panic!("no free port");
}
