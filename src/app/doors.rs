//! The listeners beside the front door: bound early, so that a port that is taken is an error, and answered when all is ready.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::app::Error;
use crate::{admin, server, sockets};

/// A listener, and where it is.
type Door = (Arc<TcpListener>, SocketAddr);

/// The admin listeners, bound.
pub(super) struct Doors {
    admin: Option<Door>,
    probes: Option<Door>,
}

impl Doors {
    /// Binds them, or takes what is open already.
    pub(super) async fn open(
        settings: &admin::Settings,
        (admin, probes): (Option<std::net::TcpListener>, Option<std::net::TcpListener>),
    ) -> Result<Self, Error> {
        let admin = open("admin.listen", settings.listen, admin).await?;
        Ok(Self { admin, probes: open("admin.probes", settings.probes, probes).await? })
    }

    /// They, as long as they are open.
    pub(super) fn listeners(&self) -> [Option<Weak<TcpListener>>; 2] {
        [&self.admin, &self.probes].map(|door| door.as_ref().map(|(listener, _)| Arc::downgrade(listener)))
    }

    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    pub(super) fn serve(self, sources: admin::Sources) -> Vec<JoinHandle<()>> {
        let api = self.admin.map(|(listener, address)| (listener, admin::router(address, sources.clone())));
        let probes = self.probes.map(|(listener, _)| (listener, admin::probes_router(sources)));
        let both = api.into_iter().chain(probes);
        both.map(|(listener, router)| {
            // It answers until the process ends: probes are asked to the last.
            tokio::spawn(server::aside::serve(listener, move |request, peer| {
                admin::answer(router.clone(), request, peer)
            }))
        })
        .collect()
    }
}

async fn open(
    what: &'static str,
    address: Option<SocketAddr>,
    is_open: Option<std::net::TcpListener>,
) -> Result<Option<Door>, Error> {
    let Some(address) = address else { return Ok(None) };
    let bind = async {
        let listener = match is_open {
            Some(listener) => sockets::ready(listener)?,
            None => TcpListener::bind(address).await?,
        };
        let bound = listener.local_addr()?;
        Ok((Arc::new(listener), bound))
    };
    bind.await.map(Some).map_err(|why| Error::Admin { what, address, why })
}
