//! URLs that a server names: they must not carry the token, nor lead from https to http.

use reqwest::Url;

use super::super::percent;

/// Where a link in the answer to a URL leads, without the parameter that carries the token.
pub(in crate::source) fn follow_link(
    from: &str,
    link: &str,
    token: Option<&str>,
) -> Result<String, String> {
    let broken = |error| format!("the link to the next page is no URL: {error}");
    let from = Url::parse(from).map_err(broken)?;
    let to = from.join(link).map_err(broken)?;
    let (kind, was) = (to.scheme(), from.scheme());
    if !matches!(kind, "http" | "https") || (was, kind) == ("https", "http") {
        return Err(format!("a link to the next page from {was} to {kind}"));
    }
    Ok(cleaned(to, token).to_string())
}

/// A URL of somebody else's without what he must not tell us.
pub(super) fn cleaned(mut url: Url, token: Option<&str>) -> Url {
    url.set_fragment(None);
    // Neither fails for http and https.
    let _ = (url.set_username(""), url.set_password(None));
    match token {
        Some(name) => without_parameter(&url, name),
        None => url,
    }
}

/// The same URL without a parameter of its query; the others stay as they are written.
pub(super) fn without_parameter(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    if url.query_pairs().any(|(key, _)| key == name) {
        let parts = url.query().unwrap_or_default().split('&');
        let other = |part: &&str| {
            let key = part.split('=').next().unwrap_or_default();
            percent::decode(key) != name.as_bytes()
        };
        let rest: Vec<&str> = parts.filter(other).collect();
        let rest = (!rest.is_empty()).then(|| rest.join("&"));
        url.set_query(rest.as_deref());
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_never_leaves_https_and_takes_no_token_along() {
        let link = follow_link("https://a/b/c?d", "../e?key=x&f", Some("key"));
        assert_eq!(link.as_deref(), Ok("https://a/e?f"));
        assert!(follow_link("https://a/", "http://a/", None).is_err());
    }
}
