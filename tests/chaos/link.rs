//! A link over TCP that can be slow, deaf, mute, dead without a word, or broken, and that can lead to another place than before.

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
    course: watch::Sender<Course>,
}

/// Where it leads, and how it is.
#[derive(Clone, Copy, Debug)]
struct Course {
    far: SocketAddr,
    state: State,
}

impl Link {
    /// To whoever listens on `far`.
    pub(crate) async fn to(far: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (course, seen) = watch::channel(Course { far, state: State::Whole });
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, seen.clone()));
            }
        });
        Self { address, course }
    }

    pub(crate) fn becomes(&self, state: State) {
        self.course.send_modify(|course| course.state = state);
    }

    /// From now on; connections to where it led before are reset.
    pub(crate) fn leads_to(&self, far: SocketAddr) {
        self.course.send_modify(|course| course.far = far);
    }
}

async fn carry(near: TcpStream, course: watch::Receiver<Course>) {
    // With nothing to linger for, what is dropped is reset.
    socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO)).unwrap();
    let (at, far) = loop {
        let Course { far, state } = *course.borrow();
        match state {
            State::Broken => return,
            State::BlackHole => changed(&course, state).await,
            State::Whole | State::Slow(_) | State::Mute => match TcpStream::connect(far).await {
                Ok(stream) => break (far, stream),
                Err(_) => return,
            },
        }
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let broken = async {
        // An end of the test is one, too.
        let _ = course.clone().wait_for(|now| now.state == State::Broken || now.far != at).await;
    };
    tokio::select! {
        () = copy(near_in, far_out, course.clone(), |state| state != State::BlackHole) => {}
        () = copy(far_in, near_out, course.clone(), |state| !matches!(state, State::BlackHole | State::Mute)) => {}
        () = broken => {}
    }
}

/// One way; what is held up arrives when it passes again, as it would after all that TCP sends again.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    course: watch::Receiver<Course>,
    passes: fn(State) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        loop {
            let now = course.borrow().state;
            match now {
                State::Slow(delay) => break sleep(delay).await,
                now if passes(now) => break,
                now => changed(&course, now).await,
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn changed(course: &watch::Receiver<Course>, from: State) {
    // An end of the test is a change, too.
    let _ = course.clone().wait_for(|now| now.state != from).await;
}
