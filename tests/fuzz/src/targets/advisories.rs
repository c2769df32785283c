//! Versions, which come from images and from advisories.

use std::cmp::Ordering;

use portwarden_advisories::Scheme;

targets! { versions }

/// Three versions, on a line each: whatever they are, a scheme that compares them orders them.
fn versions(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let [a, b, c] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    for scheme in Scheme::ALL {
        if scheme.is_valid(a) {
            assert_eq!(scheme.compare(a, a), Some(Ordering::Equal), "{scheme}: {a:?}");
        }
        let order = scheme.compare(a, b);
        let reversed = scheme.compare(b, a).map(Ordering::reverse);
        assert_eq!(order, reversed, "{scheme}: {a:?} {b:?}");
        if order == Some(Ordering::Equal) {
            assert_eq!(
                scheme.compare(a, c),
                scheme.compare(b, c),
                "{scheme}: {a:?} = {b:?}, {c:?}"
            );
        }
        if order == Some(Ordering::Less) && scheme.compare(b, c) == Some(Ordering::Less) {
            assert_eq!(
                scheme.compare(a, c),
                Some(Ordering::Less),
                "{scheme}: {a:?} < {b:?} < {c:?}"
            );
        }
    }
}
