//! Routes that no request ever falls under, because others take all their paths.
//!
//! Without a catch-all a template always has a path of its own: fill its braces with what stands in no other. A catch-all has
//! none if its parent has a route, so that the empty rest is taken, and if what lies one segment below is taken whole:
//! by a route for that segment, and by another catch-all behind it, or again by what lies below.
//! An empty segment (`/a//b`) would still be left, but only an ambiguous path has one, and that is never cached.

use crate::config::collection::RawRoute;
use crate::config::problem::Problem;
use crate::route::pattern::{Segment, Template};

/// Complains of each route that others shadow.
pub(crate) fn complain(routes: &[RawRoute], problems: &mut Vec<Problem>) {
    for route in routes {
        let Some(takers) = takers(route.template.shape(), routes) else { continue };
        let list = takers.iter().map(|taker| format!("`{taker}`")).collect::<Vec<_>>().join(", ");
        let message = format!("`{}` matches nothing: {list} take all its paths", route.template.text);
        let hint = "take it out; a parameter beats a catch-all wherever it stands";
        problems.push(Problem::at(route.place, message).hint(hint));
    }
}

/// The routes that take every path of this catch-all.
fn takers<'r>(template: &Template, routes: &'r [RawRoute]) -> Option<Vec<&'r str>> {
    template.rest.as_ref()?;
    let mut takers = vec![route(routes, &template.segments, false)?];
    let mut below = template.segments.clone();
    let deepest = routes.iter().map(|route| route.template.shape().segments.len()).max()?;
    while below.len() < deepest {
        below.push(Segment::Parameter { before: String::new(), name: String::new(), after: String::new() });
        takers.push(route(routes, &below, false)?);
        if let Some(rest) = route(routes, &below, true) {
            takers.push(rest);
            return Some(takers);
        }
    }
    None
}

/// The route of exactly these segments, with a catch-all behind them or without.
fn route<'r>(routes: &'r [RawRoute], segments: &[Segment], rest: bool) -> Option<&'r str> {
    let wanted = Template { segments: segments.to_vec(), rest: rest.then(String::new) };
    let found = routes.iter().find(|route| route.template.shape().is_same_shape(&wanted))?;
    Some(&found.template.text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::collection::RawRule;
    use crate::config::problem::Place;
    use crate::config::template;
    use crate::route::Settings;
    use crate::route::table::Table;

    fn raw(text: &str) -> RawRoute {
        let template = template::Template::parse(text).unwrap();
        RawRoute { template, place: Place::default(), rule: RawRule::Bypass }
    }

    fn table(templates: &[String]) -> Table {
        let settings = |template: &String| Settings::passing(template);
        Table::build(templates.iter().map(settings).collect(), None).expect("no two of the same shape")
    }

    proptest! {
        /// Every path of up to four segments is tried: two that templates name, and one that none does.
        #[test]
        fn a_route_is_shadowed_if_no_path_falls_under_it(
            shapes in prop::collection::btree_set("(/(a|\\{x\\})){0,3}(/|/\\{\\*r\\})", 1..12),
        ) {
            let unique = |text: &String| (0..9).fold(text.clone(), |text, n| text.replacen("{x}", &format!("{{x{n}}}"), 1));
            let templates: Vec<String> = shapes.iter().map(unique).collect();
            let routes: Vec<RawRoute> = templates.iter().map(|text| raw(text)).collect();
            let table = table(&templates);
            let mut paths = vec![String::new()];
            for _ in 0..5 {
                let longer: Vec<String> = paths.iter().flat_map(|path| [format!("{path}/a"), format!("{path}/z")]).collect();
                paths.extend(longer);
                paths.sort();
                paths.dedup();
            }
            let all: Vec<String> = paths.iter().flat_map(|path| [path.clone(), format!("{path}/")]).filter(|path| !path.is_empty()).collect();
            for route in &routes {
                let is_found = all.iter().any(|path| table.find(path).settings.template == route.template.text);
                let shadowed = takers(route.template.shape(), &routes);
                prop_assert_eq!(is_found, shadowed.is_none(), "{} among {:?}", &route.template.text, &templates);
            }
        }
    }

    #[test]
    fn a_catch_all_is_shadowed_by_what_takes_all_below_it() {
        let routes: Vec<RawRoute> = ["/a/{r:path}", "/a", "/a/{x}", "/a/{x}/{s:path}"].map(raw).into();
        assert_eq!(takers(routes[0].template.shape(), &routes).unwrap(), ["/a", "/a/{x}", "/a/{x}/{s:path}"]);
        for without in 1..routes.len() {
            let fewer: Vec<RawRoute> = routes
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != without)
                .map(|(_, route)| route.clone())
                .collect();
            assert!(takers(routes[0].template.shape(), &fewer).is_none(), "without {without}");
        }
    }
}
