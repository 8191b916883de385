//! What is fetched, in what order: pure.

use std::collections::HashSet;

use crate::warm::Request;

/// The paths of `requests`, higher priority first, equals in the order of the list, each path once.
pub(crate) fn plan(requests: &[Request]) -> Vec<&str> {
    let mut ordered: Vec<&Request> = requests.iter().collect();
    ordered.sort_by_key(|request| std::cmp::Reverse(request.priority));
    let mut seen = HashSet::new();
    ordered.into_iter().map(|request| request.path.as_str()).filter(|path| seen.insert(*path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(requests: &[(&str, i64)]) -> Vec<String> {
        let requests: Vec<_> =
            requests.iter().map(|&(path, priority)| Request { path: path.into(), priority }).collect();
        plan(&requests).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn priority_comes_before_the_order_of_the_list() {
        assert_eq!(planned(&[("/a", 100), ("/b", 100), ("/c", 200), ("/d", -1)]), ["/c", "/a", "/b", "/d"]);
    }

    #[test]
    fn a_path_is_fetched_once_by_its_highest_priority() {
        assert_eq!(planned(&[("/a", 1), ("/b", 2), ("/a", 3), ("/a?x", 0)]), ["/a", "/b", "/a?x"]);
    }
}
