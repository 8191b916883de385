//! Runs the binary, speaks HTTP/1.1 to it over bare sockets, and stands in for the origin.
//!
//! Everything waits for something that can be observed, at most `DEADLINE`; what was started is ended on drop.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// Asks every few milliseconds until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..DEADLINE.as_millis() / STEP.as_millis() {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(STEP);
    }
    panic!("not within {DEADLINE:?}: {what}");
}

/// Waits until all threads of a process sleep: it has done what there was to do, and waits for more.
#[track_caller]
pub(crate) fn until_idle(process: u32) {
    let sleeps = |stat: &str| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'));
    until("all of its threads sleep", || {
        let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?.filter_map(Result::ok);
        let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        states.all(|stat| sleeps(&stat)).then_some(())
    });
}

/// A port on which nobody listens just now.
pub(crate) fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// As many of them, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let all_at_once: [TcpListener; N] = std::array::from_fn(bind);
    all_at_once.map(|listener| listener.local_addr().expect("its address").port())
}

/// `larder` with an environment of its own, in a folder of its own.
pub(crate) fn larder(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.env_clear().env("NO_COLOR", "1").current_dir(folder);
    command
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Where nothing can be written: there is no space left.
pub(crate) fn full() -> fs::File {
    fs::OpenOptions::new().write(true).open("/dev/full").expect("the system has it")
}

/// Runs to the end; a process that serves instead of ending is killed, and fails the test.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ended {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("larder starts");
    let id = child.id();
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let ended = |child: &mut Child| child.try_wait().expect("its status");
    for _ in 0..DEADLINE.as_millis() / STEP.as_millis() {
        if let Some(status) = ended(&mut child) {
            let text = |pipe: thread::JoinHandle<Vec<u8>>| pipe.join().expect("the pipe is read");
            return Ended::new(Output { status, stdout: text(out), stderr: text(err) });
        }
        thread::sleep(STEP);
    }
    child.kill().expect("it is killed");
    panic!("larder ({id}) went on where it should have ended");
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("a pipe");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("the pipe is readable");
        bytes
    })
}

/// What a finished process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails unless it ended with `code` and said every one of `words` on stderr, and never as a panic or a `Debug` dump.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        for raw in ["panicked", "Error {", "Os {", "\u{1b}["] {
            assert!(!self.stderr.contains(raw), "{raw:?} in:\n{}", self.stderr);
        }
    }
}

/// `larder run`, serving.
pub(crate) struct Proxy {
    child: Child,
    folder: TempDir,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// Starts before `upstream` with these lines of YAML, and waits until it is ready.
    pub(crate) fn start(upstream: SocketAddr, config: &str) -> Self {
        Self::start_with(upstream, config, &[])
    }

    /// The same with these environment variables.
    pub(crate) fn start_with(upstream: SocketAddr, config: &str, environment: &[(&str, &str)]) -> Self {
        let folder = folder();
        let stderr = fs::File::create(folder.path().join("stderr")).expect("a file");
        Self::start_in(folder, upstream, config, environment, stderr)
    }

    /// The same where no diagnostics can be written.
    pub(crate) fn start_mute(upstream: SocketAddr, config: &str) -> Self {
        let folder = folder();
        fs::write(folder.path().join("stderr"), "(nothing can be written)").expect("a file");
        Self::start_in(folder, upstream, config, &[], full())
    }

    fn start_in(
        folder: TempDir,
        upstream: SocketAddr,
        config: &str,
        environment: &[(&str, &str)],
        stderr: fs::File,
    ) -> Self {
        fs::write(folder.path().join("larder.yaml"), config).expect("the file is written");
        let stdout = fs::File::create(folder.path().join("stdout")).expect("a file");
        let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let [listen, admin] = free_ports().map(here);
        let child = larder(&folder)
            .envs(environment.iter().copied())
            .args(["run", "--config", "larder.yaml"])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("larder starts");
        let mut proxy = Self { child, folder, listen, admin };
        until("/readyz says 200", || {
            let status = proxy.child.try_wait().expect("its status");
            assert!(status.is_none(), "larder ended: {status:?}\n{}", proxy.stderr());
            (try_get(admin, "/readyz")?.status == 200).then_some(())
        });
        proxy
    }

    /// Puts another file in the place of its configuration.
    pub(crate) fn configure(&self, config: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, config).expect("the file is written");
        fs::rename(next, self.folder.path().join("larder.yaml")).expect("it takes the place");
    }

    /// Runs another command of `larder` beside it, which is told where it is.
    pub(crate) fn command(&self, words: &[&str]) -> Ended {
        run(larder(&self.folder).args(words).args(["--admin", &self.admin.to_string()]))
    }

    /// Sends a signal by its name (`TERM`).
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh runs").success());
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most bytes of memory that it ever held.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field is told");
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kilobytes * 1024
    }

    pub(crate) fn join(mut self) -> ExitStatus {
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("larder ends", || self.child.try_wait().expect("its status"))
    }

    /// The access log, as far as it is written.
    #[allow(dead_code, reason = "not everybody reads it")]
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.folder.path().join("stdout")).expect("the file is there")
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).expect("the file is there")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail on a process that has ended and was joined, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a process by its number when dropped.
pub(crate) struct Orphan(pub(crate) u32);

impl Drop for Orphan {
    fn drop(&mut self) {
        signal("KILL", self.0);
    }
}

/// Sends a signal to a process that may have ended by itself.
pub(crate) fn signal(name: &str, process: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{name} {process} 2>/dev/null")]).status();
}

/// The numbers of those who were told to accept, in their order.
pub(crate) fn successors(proxy: &Proxy) -> Vec<u32> {
    let told = proxy.stderr();
    let told = told
        .lines()
        .filter_map(|line| line.split_once("the next process accepts id=")?.1.trim().parse().ok());
    told.collect()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

#[track_caller]
pub(crate) fn get(server: SocketAddr, path: &str) -> Answer {
    try_get(server, path).unwrap_or_else(|| panic!("no answer from {server} to {path}"))
}

/// `None` where nobody listens or the connection was closed without an answer.
pub(crate) fn try_get(server: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// An origin that answers 200 to everything; `/held` only once told to.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    arrived: Receiver<()>,
    release: Sender<()>,
}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::start_at(free_port())
    }

    pub(crate) fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let address = listener.local_addr().expect("its address");
        let (arriving, arrived) = channel();
        let (release, released) = channel();
        let released = std::sync::Arc::new(std::sync::Mutex::new(released));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (arriving, released) = (arriving.clone(), released.clone());
                thread::spawn(move || {
                    // The other side may be gone, and the test over.
                    let _ = answer(stream, || {
                        let _ = arriving.send(());
                        let _ = released.lock().map(|released| released.recv());
                    });
                });
            }
        });
        Self { address, arrived, release }
    }

    /// Waits until a request for `/held` is here.
    pub(crate) fn wait_for_held(&self) {
        self.arrived.recv_timeout(DEADLINE).expect("a request for /held arrives");
    }

    /// Lets one request for `/held` go.
    pub(crate) fn release(&self) {
        self.release.send(()).expect("the origin runs");
    }
}

/// Answers every request of one connection; calls `hold` before the answer to `/held`.
fn answer(mut stream: TcpStream, hold: impl Fn()) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("GET /held ") {
            hold();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}
