//! Presets: what a route of a known kind usually wants, under one name.
//!
//! A preset is a layer between what the route says and `defaults`. It refuses to know any path.

use crate::config::file::{Route, StoreIf};
use crate::config::problem::Source;
use crate::config::shape::{At, BuiltIn, choice};

/// `preset:` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// A job's state: stored only when the job has ended.
    JobStatus,
    /// Countries, categories: rarely changed.
    ReferenceData,
    /// One thing by its id.
    CrudDetail,
    /// A list of things.
    CrudList,
    /// Figures for the one who asks.
    Dashboard,
    /// Figures for all.
    Stats,
    /// Search results.
    Search,
    /// A large file, made slowly.
    Export,
}

choice!(Preset, "a preset", {
    "job-status" => Preset::JobStatus,
    "reference-data" => Preset::ReferenceData,
    "crud-detail" => Preset::CrudDetail,
    "crud-list" => Preset::CrudList,
    "dashboard" => Preset::Dashboard,
    "stats" => Preset::Stats,
    "search" => Preset::Search,
    "export" => Preset::Export,
});

/// Words for a job that has ended, Celery's among them (case does not matter).
const ENDED: &str =
    "done completed complete success succeeded finished failed failure error cancelled canceled revoked";

impl Preset {
    /// The keys it stands for.
    pub(crate) fn layer(self) -> Route {
        let route = Route::default();
        match self {
            Self::JobStatus => Route {
                ttl: self.said("1h"),
                store_if: self
                    .made(StoreIf { path: self.said("$.status $.state"), states: self.said(ENDED) }),
                ..route
            },
            Self::ReferenceData => {
                Route { ttl: self.said("24h"), stale_while_revalidate: self.said("1h"), ..route }
            }
            Self::CrudDetail => Route { ttl: self.said("30m"), ..route },
            Self::CrudList => Route { ttl: self.said("10m"), ..route },
            Self::Dashboard => Route { ttl: self.said("5m"), scope: self.said("user"), ..route },
            Self::Stats => Route { ttl: self.said("15m"), ..route },
            Self::Search => Route { ttl: self.said("20m"), ..route },
            Self::Export => {
                Route { ttl: self.said("1h"), timeout: self.said("10m"), entry: self.said("64MiB"), ..route }
            }
        }
    }

    fn said<T: BuiltIn>(self, text: &str) -> Option<At<T>> {
        T::from_default(text).and_then(|at| self.made(at.value))
    }

    #[allow(clippy::unnecessary_wraps, reason = "a layer's fields are options")]
    fn made<T>(self, value: T) -> Option<At<T>> {
        Some(At { value, source: Source::Preset(self.name()) })
    }

    fn name(self) -> &'static str {
        match self {
            Self::JobStatus => "job-status",
            Self::ReferenceData => "reference-data",
            Self::CrudDetail => "crud-detail",
            Self::CrudList => "crud-list",
            Self::Dashboard => "dashboard",
            Self::Stats => "stats",
            Self::Search => "search",
            Self::Export => "export",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shape::Scalar;

    #[test]
    fn every_preset_says_a_ttl_and_goes_by_its_own_name() {
        use Preset::*;
        for preset in [JobStatus, ReferenceData, CrudDetail, CrudList, Dashboard, Stats, Search, Export] {
            assert!(preset.layer().ttl.is_some(), "{preset:?}");
            assert_eq!(preset.name(), preset.show());
        }
    }

    #[test]
    fn job_status_knows_both_fields_and_celerys_words() {
        let layer = Preset::JobStatus.layer().store_if.unwrap().value;
        let paths: Vec<_> = layer.path.unwrap().value.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            paths,
            ["$.status", "$.state"]
                .map(|path| path.parse::<serde_json_path::JsonPath>().unwrap().to_string())
        );
        let states = layer.states.unwrap().value.0;
        for word in ["done", "failed", "success", "failure", "revoked", "cancelled", "canceled", "finished"] {
            assert!(states.iter().any(|state| state == word), "{word}");
        }
    }
}
