//! Links of an HTML mail: what they may point to, click tracking, the picture that counts opens.

use crate::engine::escape_html;
use crate::render::RenderContext;

/// A URL that may not stand in a message.
pub(crate) struct Refused;

/// Longest URL in a message, in bytes.
const MAX_URL: usize = 4_000;

/// Whether a URL may stand in a link (http, https, mailto, tel) or in a picture (http, https).
///
/// Looks at the scheme only, as readers do: white space and control characters before or inside it are refused
/// because readers skip them.
pub(crate) fn checked_url(url: &str, picture: bool) -> Result<(), Refused> {
    if url.len() > MAX_URL
        || url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return Err(Refused);
    }
    let (scheme, rest) = url.split_once(':').ok_or(Refused)?;
    let web = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
    let other = !picture && matches!(scheme.to_ascii_lowercase().as_str(), "mailto" | "tel");
    let host = rest
        .strip_prefix("//")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '['));
    if (web && host) || (other && !rest.is_empty()) {
        Ok(())
    } else {
        Err(Refused)
    }
}

/// Puts tracking into a rendered mail: links to follow are rewritten, the open picture is added.
pub(crate) fn instrument(html: String, context: &RenderContext<'_>) -> String {
    let html = match context.track_link {
        Some(track) => rewrite(&html, context, track),
        None => html,
    };
    match context.open_pixel_url {
        Some(pixel) => with_pixel(html, pixel),
        None => html,
    }
}

/// Rewrites the links people follow. Not the unsubscribe and preference links (they must work without us counting)
/// and not those marked `data-track="off"`. The compiler has written every link as `<a .. href="..">` with double
/// quotes, and values are escaped, so the markup looked for here cannot come from a value.
fn rewrite(
    html: &str,
    context: &RenderContext<'_>,
    track: &(dyn Fn(&str) -> String + Send + Sync),
) -> String {
    let own = [context.unsubscribe_url, context.preference_url];
    let mut out = String::with_capacity(html.len() + 1024);
    let mut rest = html;
    while let Some(start) = rest.find("<a ") {
        let tag_end = rest[start..].find('>').map_or(rest.len(), |end| start + end);
        let tag = &rest[start..tag_end];
        let href = tag.find(" href=\"").and_then(|at| {
            let from = at + " href=\"".len();
            tag[from..].find('"').map(|length| (from, from + length))
        });
        let target = href.map(|(from, to)| unescape(&tag[from..to]));
        let follow = target.as_deref().filter(|url| {
            let web = url.starts_with("http://") || url.starts_with("https://");
            web && !own.contains(&Some(*url)) && !tag.contains("data-track=\"off\"")
        });
        match (href, follow) {
            (Some((from, to)), Some(url)) => {
                out.push_str(&rest[..start + from]);
                // Writing into a String cannot fail.
                let _ = escape_html(&mut out, &track(url));
                out.push_str(&tag[to..]);
            }
            _ => out.push_str(&rest[..tag_end]),
        }
        rest = &rest[tag_end..];
    }
    out.push_str(rest);
    out
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

fn with_pixel(mut html: String, pixel: &str) -> String {
    let mut image = String::from("<img src=\"");
    let _ = escape_html(&mut image, pixel);
    image.push_str(
        "\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block;width:1px;height:1px;border:0\">",
    );
    let at = html.rfind("</body>").unwrap_or(html.len());
    html.insert_str(at, &image);
    html
}
