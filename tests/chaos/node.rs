//! A proxy of the fleet: a real process, which is stopped, killed, and started again, with other rules perhaps.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::link::Link;

/// Longest time that a process takes to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// Where its doors are: for clients, for operators. A new process has new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Whether its rules derive what shows all items from each of them.
    pub(crate) derives: bool,
    /// The how-manieth time that one of them is well; `None` while it is stopped, or gone.
    pub(crate) well: Option<u64>,
}

/// Where the nodes are now.
pub(crate) type Nodes = Arc<Vec<RwLock<Doors>>>;

pub(crate) struct Node {
    pub(crate) link: Link,
    origin: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Node {
    pub(crate) async fn start(origin: SocketAddr, link: Link, rules: &str) -> (Self, Doors) {
        let folder = tempfile::tempdir().unwrap();
        let child = launch(origin, &link, rules, &folder);
        let mut node = Self { link, origin, folder, child };
        let doors = node.doors().await;
        (node, doors)
    }

    /// As a machine that fails.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an operator does who rolls something out.
    pub(crate) async fn end(&mut self) {
        self.signal("TERM");
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("it ends");
    }

    pub(crate) async fn start_again(&mut self, rules: &str) -> Doors {
        self.child = launch(self.origin, &self.link, rules, &self.folder);
        self.doors().await
    }

    /// Sends it a signal by its name (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// As its first line tells them.
    async fn doors(&mut self) -> Doors {
        let told = async {
            loop {
                if let Some(doors) = told(&self.said()) {
                    return doors;
                }
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.said());
                sleep(STEP).await;
            }
        };
        timeout(PATIENCE, told).await.expect("it listens")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail on one that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(origin: SocketAddr, link: &Link, rules: &str, folder: &TempDir) -> Child {
    let text = rules
        .replace("{origin}", &format!("http://{origin}"))
        .replace("{redis}", &format!("redis://{}", link.address));
    std::fs::write(folder.path().join("larder.yaml"), text).unwrap();
    let binary = std::env::var("LARDER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_larder").to_owned());
    Command::new(binary)
        .env_clear()
        .env("NO_COLOR", "1")
        .args(["run", "--config", "larder.yaml"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(File::create(folder.path().join("stderr")).unwrap())
        .spawn()
        .expect("larder starts")
}

/// `… listening on 127.0.0.1:1, admin on http://127.0.0.1:2`
fn told(said: &str) -> Option<Doors> {
    let (_, doors) = said.split_once("listening on ")?;
    let (proxy, admin) = doors.split_once(", admin on http://")?;
    let admin = admin.split_whitespace().next()?.parse().ok()?;
    Some(Doors { proxy: proxy.parse().ok()?, admin, derives: false, well: None })
}
