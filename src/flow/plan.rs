//! What becomes of a request: whether it reads, writes, passes, opens a tunnel or is a webhook.
//!
//! Invariant: what may change anything is a write, whatever else is said of it.

use http::request::Parts as Head;
use http_body::Body as _;

use crate::body::Body;
use crate::flow::{Visit, purge, tunnel};
use crate::policy::outdate;
use crate::route::share::Share;
use crate::route::{Mode, Reads};
use crate::upstream::Priority;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Answered by the cache, from these entries.
    Read(Share),
    /// The same, once its content was read.
    ReadByContent(Share),
    /// Forwarded, while it is noted what the cache would have made of it, from these entries.
    Shadow(Share),
    /// Forwarded; it outdates what it is aimed at.
    Write,
    /// Never forwarded; it outdates what it is aimed at, if who sends it may.
    Purge,
    /// Received here: it says what is outdated.
    Hook,
    /// Forwarded, for this reason.
    Pass(&'static str),
    /// Forwarded; both ends are joined.
    Tunnel,
}

impl Visit<'_> {
    /// Decides by the head, and by whether there is a body.
    pub(crate) fn plan(&self, head: &Head, body: &Body) -> Plan {
        if self.flow.hooks.has(self.target.path.decoded()) {
            return Plan::Hook;
        }
        if self.flow.settings.upgrades && tunnel::is_asked_for(head) {
            return Plan::Tunnel;
        }
        let (reads, bypass) = (self.target.route.settings.reads(&head.method), self.target.bypass());
        // What one parser takes for a declared read may be a write where another one looks.
        let declared = reads == Reads::ByContent && bypass.is_none();
        if !outdate::is_safe(&head.method) && !declared {
            return if head.method.as_str() == purge::METHOD { Plan::Purge } else { Plan::Write };
        }
        if reads == Reads::Not {
            return Plan::Pass("method");
        }
        if !self.flow.settings.enabled {
            return Plan::Pass("disabled");
        }
        if let Some(why) = self.flow.lasting.switches.off(self.target.route.index, self.now.mono) {
            return Plan::Pass(why);
        }
        if reads == Reads::ByTarget && !body.is_end_stream() {
            return Plan::Pass("request-body");
        }
        match bypass.map_or_else(|| self.share(head), Share::Bypass) {
            Share::Bypass(why) => Plan::Pass(why.as_str()),
            share if reads == Reads::ByContent => Plan::ReadByContent(share),
            share if self.is_in_shadow() => Plan::Shadow(share),
            share => Plan::Read(share),
        }
    }

    /// Whether the cache answers nobody here. What Larder asks for itself it keeps as ever: for nobody, until `mode` says `cache`.
    pub(crate) fn is_in_shadow(&self) -> bool {
        self.target.route.settings.mode == Mode::Shadow && self.client.priority == Priority::Client
    }
}
