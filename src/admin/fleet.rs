//! `GET /v1/fleet`: how this node stands among the others, and who they are.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::admin::Sources;
use crate::fleet::journal::{Extent, Member};
use crate::fleet::{Standing, about};
use crate::tier::Tier;

/// `GET /v1/fleet`; a node that is alone says so.
pub(crate) async fn fleet(State(sources): State<Sources>) -> Json<Value> {
    Json(told(&sources).await)
}

/// How this node stands, and who the others are.
pub(crate) async fn told(sources: &Sources) -> Value {
    let parts = sources.flow.parts();
    let Some(fleet) = parts.invalidator.fleet() else {
        return json!({ "node": null, "journal": null, "same_config": null, "nodes": [] });
    };
    let members = fleet.members().await;
    let standing = fleet.standing();
    let (journal, same_config, nodes) = match &members {
        Ok((extent, members)) => {
            let nodes = members.iter().map(|member| node(member, &standing)).collect();
            (journal(*extent), is_one_config(members).into(), nodes)
        }
        Err(_) => (Value::Null, Value::Null, Vec::new()),
    };
    let away = members.err().map(|away| away.to_string()).or_else(|| standing.away.clone());
    json!({
        "node": {
            "id": standing.incarnation.as_ref().map(|incarnation| &incarnation.0),
            "position": standing.applied.to_string(),
            "coherence": standing.coherence.as_str(),
            "lease_left": standing.lease.map(|left| left.as_secs_f64()),
            "tier": parts.tier.as_ref().is_some_and(Tier::is_connected),
            "gaps": standing.gaps,
            "intents": standing.intents,
            "error": away,
        },
        "journal": journal,
        "same_config": same_config,
        "nodes": nodes,
    })
}

fn journal(Extent { epoch, first, last }: Extent) -> Value {
    json!({ "epoch": format!("{epoch:x}"), "first": first, "last": last })
}

/// Whether all who may serve what they keep go by one configuration, as far as they say.
fn is_one_config(members: &[Member]) -> bool {
    let mut digests = members
        .iter()
        .filter(|member| !is_shut_out(member))
        .filter_map(|member| about::digest(&member.about));
    let first = digests.next();
    digests.all(|digest| Some(digest) == first)
}

fn is_shut_out(member: &Member) -> bool {
    member.fence > member.applied
}

fn node(member: &Member, standing: &Standing) -> Value {
    json!({
        "id": member.incarnation.0,
        "about": member.about,
        "config": about::digest(&member.about),
        "self": standing.incarnation.as_ref() == Some(&member.incarnation),
        "applied": member.applied,
        "shut_out": is_shut_out(member),
        "renewals": member.renewals,
    })
}
