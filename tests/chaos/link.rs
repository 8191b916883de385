//! A link over TCP that can be slow, deaf, mute, dead without a word, or broken.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// Everything takes so much longer, each way.
    Slow(Duration),
    /// What is sent through it arrives, and nothing comes back.
    Mute,
    /// Nothing passes, and nobody is told.
    BlackHole,
    /// Connections are reset, and new ones as well.
    Broken,
}

/// Of one who asks and one who answers.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

impl Link {
    /// To whoever listens on `far`.
    pub(crate) async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, far, seen.clone()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn becomes(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(near: TcpStream, far: SocketAddr, state: watch::Receiver<State>) {
    // With nothing to linger for, what is dropped is reset.
    socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
    let far = loop {
        let now = *state.clone().borrow();
        match now {
            State::Broken => return,
            State::BlackHole => changed(&state, now).await,
            State::Whole | State::Slow(_) | State::Mute => match TcpStream::connect(far).await {
                Ok(far) => break far,
                Err(_) => return,
            },
        }
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let broken = async {
        let mut state = state.clone();
        // An end of the test is one, too.
        let _ = state.wait_for(|state| *state == State::Broken).await;
    };
    tokio::select! {
        () = copy(near_in, far_out, state.clone(), |state| state != State::BlackHole) => {}
        () = copy(far_in, near_out, state.clone(), |state| !matches!(state, State::BlackHole | State::Mute)) => {}
        () = broken => {}
    }
}

/// One way; what is held up arrives when it passes again, as it would after all that TCP sends again.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: watch::Receiver<State>,
    passes: fn(State) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        loop {
            let now = *state.borrow();
            match now {
                State::Slow(delay) => break sleep(delay).await,
                now if passes(now) => break,
                now => changed(&state, now).await,
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn changed(state: &watch::Receiver<State>, from: State) {
    // An end of the test is a change, too.
    let _ = state.clone().wait_for(|state| *state != from).await;
}
