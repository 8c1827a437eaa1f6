//! Where an answer sends who asked, and whether they go there. Knows nothing of how a request is
//! sent.

use url::Url;

use crate::runbook::action::Follow;

/// How many redirects in a row are followed.
pub const MOST: u32 = 5;

/// A place that an answer names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub to: String,
    /// Whether it is the same scheme, host and port.
    pub is_same_origin: bool,
    /// Why it is not followed, if it is not.
    pub refused: Option<&'static str>,
}

/// What a `Location` says in an answer of `from` with this status. `reads`: whether the request
/// changes nothing.
pub fn redirect(from: &str, status: u16, location: &str, reads: bool, follow: Follow) -> Redirect {
    let refuse = |to: String, why| Redirect { to, is_same_origin: false, refused: Some(why) };
    let Ok(base) = Url::parse(from) else {
        return refuse(location.to_owned(), "where it comes from cannot be read");
    };
    let Ok(mut next) = base.join(location) else {
        return refuse(location.to_owned(), "it is no URL");
    };
    next.set_fragment(None);
    let is_same_origin = next.origin() == base.origin();
    let refused = match (status, next.scheme(), base.scheme()) {
        (301 | 302 | 303 | 307 | 308, ..) if !reads => {
            Some("the request changes something, and following would hide that")
        }
        (301 | 302 | 303 | 307 | 308, "http", "https") => Some("it leads from https to http"),
        (301 | 302 | 303 | 307 | 308, "http" | "https", _) => match follow {
            Follow::None => Some("the step says `follow: none`"),
            Follow::SameOrigin if !is_same_origin => Some(
                "it leads to another origin; `follow: any` goes there, and takes nothing along",
            ),
            Follow::SameOrigin | Follow::Any => None,
        },
        (301 | 302 | 303 | 307 | 308, ..) => Some("it leads to neither http nor https"),
        _ => Some("such an answer does not ask for it"),
    };
    Redirect { to: next.to_string(), is_same_origin, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_and_what_is_the_same_origin() {
        let followed = |from: &str, location: &str, follow| {
            let found = redirect(from, 302, location, true, follow);
            found.refused.is_none().then_some((found.to, found.is_same_origin))
        };
        let here = "https://a.test/x/y?z=1";
        for (location, to, is_same) in [
            ("/n", "https://a.test/n", true),
            ("n?q", "https://a.test/x/n?q", true),
            ("HTTPS://A.TEST:443/n#f", "https://a.test/n", true),
            ("//b.test/n", "https://b.test/n", false),
            ("https://a.test:8443/n", "https://a.test:8443/n", false),
            ("https://a.test.evil/n", "https://a.test.evil/n", false),
            ("https://a.test@evil.test/n", "https://a.test@evil.test/n", false),
            ("\\\\evil.test/n", "https://evil.test/n", false),
        ] {
            assert_eq!(
                followed(here, location, Follow::Any),
                Some((to.to_owned(), is_same)),
                "{location}"
            );
            assert_eq!(
                followed(here, location, Follow::SameOrigin).is_some(),
                is_same,
                "{location}"
            );
            assert_eq!(followed(here, location, Follow::None), None, "{location}");
        }
        for location in [
            "http://a.test/n",
            "http://b.test/",
            "file:///etc/passwd",
            "javascript:1",
            "http://[",
            "",
        ] {
            let is_followed = followed(here, location, Follow::Any).is_some();
            assert!(!is_followed || location.is_empty(), "{location}");
        }
        assert!(
            followed("http://a.test/", "https://a.test/", Follow::Any)
                .is_some_and(|(_, same)| !same)
        );
        assert!(redirect(here, 302, "/n", false, Follow::Any).refused.is_some(), "a change");
        assert!(
            redirect(here, 201, "/n", true, Follow::Any).refused.is_some(),
            "made, and no redirect"
        );
    }
}
