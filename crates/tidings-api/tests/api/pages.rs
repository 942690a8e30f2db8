//! Pages, health, and the headers of every answer.

use crate::support::TestApi;

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let api = TestApi::new().await;
    for path in [
        "/",
        "/docs",
        "/sandbox",
        "/assets/docs.js",
        "/assets/sandbox.js",
        "/assets/pages.css",
    ] {
        let reply = api.get("", path).await;
        assert_eq!(reply.status, 200, "{path}");
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        for line in text
            .lines()
            .filter(|line| line.contains("src=") || line.contains("href=") || line.contains("url("))
        {
            assert!(
                !line.contains("src=\"http") && !line.contains("url(http") && !line.contains("href=\"http"),
                "{path}: {line}"
            );
        }
        if reply.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
        {
            assert!(
                !text.contains("<script>") && !text.contains("style=") && !text.contains("onclick"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn every_answer_carries_its_security_headers() {
    let api = TestApi::new().await;
    let paths = [
        "/",
        "/docs",
        "/sandbox",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/nowhere",
        "/v1/contacts",
        "/v1/nowhere",
    ];
    for path in paths {
        let reply = api.get("", path).await;
        let header = |name: &str| {
            reply
                .headers
                .get(name)
                .unwrap_or_else(|| panic!("{path} lacks {name}"))
                .to_str()
                .unwrap()
                .to_owned()
        };
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(
            policy.contains("script-src 'self'") && !policy.contains("script-src 'self' 'unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-request-id"), "test");
        if path.starts_with("/v1") {
            assert_eq!(header("cache-control"), "no-store");
        }
    }
}

#[tokio::test]
async fn health_and_figures() {
    let api = TestApi::new().await;
    assert_eq!(api.get("", "/healthz").await.expect(200)["status"], "ok");
    assert_eq!(api.get("", "/readyz").await.expect(200)["status"], "ready");
    assert_eq!(api.get("", "/metrics").await.body, "tidings_up 1\n");
}
