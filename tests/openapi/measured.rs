//! Recall and precision over all applications.

use std::collections::BTreeSet;

use http::Method;
use larder::config::Config;
use larder::openapi::Analysis;
use larder::policy::Scope;
use larder::route::Settings;
use larder::route::derive::meet;
use larder::route::pattern::Template;
use larder::route::reach::ItemTemplate;

use crate::labels::Labels;
use crate::{APPLICATIONS, analysed, beside, loaded};

/// How many were found, of how many, and how many more were said.
#[derive(Default)]
struct Score {
    wanted: usize,
    found: usize,
    said: usize,
}

impl Score {
    fn count(&mut self, what: &str, wanted: &BTreeSet<String>, said: &BTreeSet<String>) {
        self.wanted += wanted.len();
        self.said += said.len();
        self.found += wanted.intersection(said).count();
        for missing in wanted.difference(said) {
            println!("missing  {what} {missing}");
        }
        for beyond in said.difference(wanted) {
            println!("beyond   {what} {beyond}");
        }
    }

    fn recall(&self) -> f64 {
        self.found as f64 / self.wanted.max(1) as f64
    }

    fn precision(&self) -> f64 {
        self.found as f64 / self.said.max(1) as f64
    }

    fn told(&self, what: &str) {
        println!(
            "{what}: recall {:.3} of {}, precision {:.3} of {}",
            self.recall(),
            self.wanted,
            self.precision(),
            self.said
        );
    }
}

/// Without convertors: documents do not have them.
fn plain(path: &str) -> String {
    path.replace(":path}", "}")
}

fn alike(one: &str, other: &str) -> bool {
    let template = |text: &str| Template::parse(&plain(text)).unwrap();
    template(one).is_same_shape(&template(other))
}

/// Classes and marks, of the routes as the file has them.
fn classes(application: &str, analysis: &Analysis, config: &Config, class: &mut Score, marks: &mut Score) {
    let labels = Labels::of(application);
    let wanted = |(class, _, path): &(String, bool, String)| format!("{class} {}", plain(path));
    let said = |route: &Settings| {
        let found = analysis.routes.iter().find(|found| found.template == route.template).unwrap();
        assert_eq!(route.bypass, found.class.preset().is_none(), "{}", route.template);
        format!("{} {}", found.class, plain(&route.template))
    };
    class.count(
        application,
        &labels.reads.iter().map(wanted).collect(),
        &config.routes.iter().map(said).collect(),
    );
    // A route that keeps nothing shows nobody anything.
    let is_marked = |path: &str| {
        let route = config.routes.iter().find(|route| plain(&route.template) == plain(path));
        route.is_none_or(|route| route.bypass || route.rule.scope == Scope::User)
    };
    let asked: BTreeSet<String> =
        labels.reads.iter().filter(|read| read.1).map(|read| plain(&read.2)).collect();
    let all = labels.reads.iter().map(|read| plain(&read.2));
    let kept = all.filter(|path| {
        asked.contains(path)
            || !config.routes.iter().any(|route| route.bypass && plain(&route.template) == *path)
    });
    marks.count(application, &asked, &kept.filter(|path| is_marked(path)).collect());
}

/// Which reads a write of the file outdates.
fn outdated(config: &Config, method: &Method, path: &str) -> BTreeSet<String> {
    let rules = config
        .writes
        .iter()
        .filter(|rule| rule.methods.contain(method) && alike(rule.name.split_once(' ').unwrap().1, path));
    let mut items = vec![ItemTemplate::parse(&plain(path)).unwrap()];
    let mut out = BTreeSet::new();
    for rule in rules {
        items.extend(rule.invalidate.iter().cloned());
        out.extend(rule.credential.then(|| "credential".to_owned()));
    }
    for route in config.routes.iter().filter(|route| !route.bypass) {
        let by_body = route
            .body_tags
            .iter()
            .filter_map(|tag| ItemTemplate::parse(&format!("{}{{x}}", tag.prefix.as_ref()?)).ok());
        let tags = route.tags.iter().cloned().map(ItemTemplate::Tag).chain(by_body);
        let carried: Vec<ItemTemplate> = tags.chain(ItemTemplate::parse(&route.template).ok()).collect();
        // A template as a path is its own only: `/posts/{slug}` is not `/posts/random`.
        let reaches = |item: &ItemTemplate| {
            carried.iter().any(|carried| meet(carried, item) && !is_another(item, &route.template, config))
        };
        if items.iter().any(reaches) {
            out.insert(plain(&route.template));
        }
    }
    out
}

/// Whether a path of the rule names another route, and this one only by its parameters.
fn is_another(item: &ItemTemplate, template: &str, config: &Config) -> bool {
    let ItemTemplate::Path(_) = item else { return false };
    let text = item.to_string();
    let Ok(shape) = Template::parse(&text) else { return false };
    let named =
        |route: &&Settings| Template::parse(&route.template).is_ok_and(|other| other.is_same_shape(&shape));
    let own = config.routes.iter().find(named);
    own.is_some_and(|own| own.template != template && shape.rest.is_none())
}

fn pairs(application: &str, config: &Config, score: &mut Score) {
    for (method, path, outdates) in Labels::of(application).writes {
        let wanted: BTreeSet<String> = outdates.iter().map(|path| plain(path)).collect();
        let said = outdated(config, &method.parse().unwrap(), &path);
        score.count(&format!("{application}: {method} {path} ->"), &wanted, &said);
    }
}

#[test]
fn labelled_applications_are_understood() {
    let (mut class, mut marks, mut outdates) = (Score::default(), Score::default(), Score::default());
    for application in APPLICATIONS {
        let analysis = analysed(&beside(&format!("{application}.json")));
        let config = loaded(&analysis.yaml());
        classes(application, &analysis, &config, &mut class, &mut marks);
        pairs(application, &config, &mut outdates);
    }
    class.told("classes of reads");
    marks.told("marks of who asks");
    outdates.told("writes and the reads that they outdate");
    assert!(class.recall() >= 0.95 && class.precision() >= 0.95);
    assert!(marks.recall() >= 1.0);
    assert!(outdates.recall() >= 0.95 && outdates.precision() >= 0.7);
}

#[test]
fn a_file_for_a_labelled_application_starts_without_a_warning() {
    for application in APPLICATIONS {
        let analysis = analysed(&beside(&format!("{application}.json")));
        let config = loaded(&analysis.yaml());
        assert_eq!(config.warnings.render(false), "", "{application}");
        assert!(!config.tests.is_empty(), "{application}");
    }
}

#[test]
fn every_route_that_asks_who_somebody_is_stands_among_the_reviews() {
    for application in APPLICATIONS {
        let analysis = analysed(&beside(&format!("{application}.json")));
        let (reviews, yaml) = (analysis.reviews(), analysis.yaml());
        for route in analysis.routes.iter().filter(|route| route.is_kept() && route.authenticated.is_some()) {
            let mark = format!("GET {}: authenticated", route.template);
            assert!(reviews.iter().any(|review| review.starts_with(&mark)), "{application} {mark}");
            let at = yaml.find(&format!("\n  {}:\n", route.template)).unwrap();
            let above = yaml[..at].lines().rev().take_while(|line| line.starts_with("  #"));
            assert!(
                above.into_iter().any(|line| line.starts_with("  # review: authenticated")),
                "{application} {mark}"
            );
        }
    }
}
