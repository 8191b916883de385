//! What routing and keying one request costs.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::policy::Scope;
use larder::route::host::{Hosts, Scheme};
use larder::route::identity::{Identity, Settings as IdentitySettings};
use larder::route::table::Table;
use larder::route::target::Rules;
use larder::route::{KeySettings, Settings};

fn settings(template: String) -> Settings {
    let ignore_query = ["utm_*", "fbclid", "gclid"].map(str::to_owned).to_vec();
    let key = KeySettings { ignore_query, ..KeySettings::default() };
    Settings { bypass: false, key, entry: 2 << 20, digest: 7, ..Settings::passing(&template) }
}

/// The project API, and a hundred routes beside it.
fn rules() -> Rules {
    let own = [
        "/api/projects",
        "/api/projects/{id}",
        "/api/projects/{id}/export",
        "/api/stats",
        "/api/{rest:path}",
    ];
    let others = (0..100).map(|n| format!("/api/resource{n}/{{id}}/part"));
    let routes = own.iter().map(|template| (*template).to_owned()).chain(others).map(settings).collect();
    Rules {
        table: Table::build(routes, None).unwrap(),
        hosts: Hosts::new(&["api.example.com".to_owned()], Scheme::Http, 8080).unwrap(),
        identity: Identity::new(&IdentitySettings::default(), b"secret"),
        writes: Vec::new(),
    }
}

fn headers(extra: &[(&'static str, &'static str)]) -> HeaderMap {
    let plain = [
        ("host", "api.example.com"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
    ];
    let pair = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    plain.iter().chain(extra).map(pair).collect()
}

fn bench(c: &mut Criterion) {
    let rules = rules();
    let token =
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiIsImV4cCI6MTc2MDAwMDAwMH0.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWc";
    let requests = [
        ("detail", "/api/projects/42", None, headers(&[])),
        ("list", "/api/projects", Some("page=1&size=20"), headers(&[])),
        ("list, unsorted", "/api/projects", Some("size=20&page=1&utm_source=x"), headers(&[])),
        ("escaped", "/api/projects/a%20b", None, headers(&[])),
        (
            "analytics cookies",
            "/api/projects/42",
            None,
            headers(&[("cookie", "_ga=GA1.2.3.4; _gid=GA1.2.5")]),
        ),
        ("token", "/api/projects/42", None, headers(&[("authorization", token)])),
    ];
    for (name, path, query, headers) in &requests {
        c.bench_function(&format!("target, share and key: {name}"), |b| {
            b.iter(|| {
                let target = rules
                    .target(Scheme::Http, "api.example.com", black_box(path), black_box(*query))
                    .unwrap();
                let share = rules.identity.share(Scope::Auto, false, black_box(headers));
                black_box(target.key(share, headers, b""))
            });
        });
    }
    let (name, path, query, headers) = &requests[1];
    let target = rules.target(Scheme::Http, "api.example.com", path, *query).unwrap();
    let share = rules.identity.share(Scope::Auto, false, headers);
    c.bench_function(&format!("target alone: {name}"), |b| {
        b.iter(|| {
            black_box(
                rules.target(Scheme::Http, "api.example.com", black_box(path), black_box(*query)).unwrap(),
            )
        });
    });
    c.bench_function(&format!("share alone: {name}"), |b| {
        b.iter(|| rules.identity.share(Scope::Auto, false, black_box(headers)));
    });
    c.bench_function(&format!("key alone: {name}"), |b| {
        b.iter(|| black_box(target.key(share, headers, b"")))
    });
    c.bench_function("find", |b| b.iter(|| black_box(rules.table.find(black_box("/api/projects/42")).index)));
}

criterion_group!(benches, bench);
criterion_main!(benches);
