//! A wire between Larder and somebody else that can be cut, that can be slow, and that can go dead without either end being told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards what comes to `address`.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

/// Connections are numbered as they come.
#[derive(Default)]
struct State {
    connections: usize,
    /// Those below are dead: open, and nothing passes.
    dead: usize,
    /// Those below are closed.
    cut: usize,
    /// Whether new ones are closed at once.
    closed: bool,
    /// How much later than it was said each answer comes.
    delay: Duration,
}

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if shared.borrow().closed {
                    continue;
                }
                let mut number = 0;
                shared.send_modify(|state| {
                    number = state.connections;
                    state.connections += 1;
                });
                tokio::spawn(forward(stream, target, shared.subscribe(), number));
            }
        });
        Self { address, state }
    }

    /// Nothing passes any more on what is open; nobody is told. New connections work.
    pub(crate) fn go_dead(&self) {
        self.state.send_modify(|state| state.dead = state.connections);
    }

    /// Closes what is open, and what comes, until [`Self::mend`].
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| (state.cut, state.closed) = (state.connections, true));
    }

    /// From now on every answer comes so much later.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.closed = false);
    }
}

async fn forward(mut one: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>, number: usize) {
    let Ok(mut other) = TcpStream::connect(target).await else { return };
    let (mut cut, slow) = (state.clone(), state.clone());
    tokio::select! {
        _ended = carry(&mut one, &mut other, slow) => return,
        _ = cut.wait_for(|state| number < state.cut) => return,
        _ = state.wait_for(|state| number < state.dead) => {}
    }
    // Both ends stay open.
    let _ = cut.wait_for(|state| number < state.cut).await;
}

/// Until either end has said all.
async fn carry(one: &mut TcpStream, other: &mut TcpStream, slow: watch::Receiver<State>) -> io::Result<()> {
    let ((mut questions, mut to_one), (mut answers, mut to_other)) = (one.split(), other.split());
    let asked = async { tokio::io::copy(&mut questions, &mut to_other).await.map(drop) };
    let answered = async {
        let mut said = vec![0; 16 << 10];
        loop {
            let length = answers.read(&mut said).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = slow.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            to_one.write_all(&said[..length]).await?;
        }
    };
    tokio::select! {
        ended = asked => ended,
        ended = answered => ended,
    }
}
