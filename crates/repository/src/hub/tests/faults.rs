//! Every fault has an error of its own that names the model, the file and the remedy, and leaves the cache usable.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::server::{Fault, sha256};
use super::{Fixture, ID, client_of, fault_of, incomplete, model, settings};
use crate::hub::error::HubFault;
use crate::hub::files::Files;

const HEAD_WEIGHTS: &str = "HEAD /some/model/resolve/";
const WEIGHTS: &str = "/model.safetensors?signature";

/// The cause at this file is one, the next fetch after a repair succeeds, and the text of the error names a remedy.
fn assert_fault(fixture: &Fixture, file: &str, remedy: &str, is_expected: impl Fn(&HubFault) -> bool) {
    let (found, fault) = fixture.fault();
    assert!(is_expected(&fault), "{fault:?}");
    assert_eq!(found, file);
    assert!(fault.to_string().contains(remedy), "{fault}");
    fixture.hub.repair();
    fixture.fetch_whole();
}

fn status(status: u16, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, value.to_string()));
    Fault::Status(status, headers.collect())
}

#[test]
fn an_invalid_token_is_told_from_an_absent_one() {
    for (at, file) in [("/api/models", "list of files"), (HEAD_WEIGHTS, "config.json")] {
        let fixture = Fixture::new();
        fixture
            .hub
            .fail(at, 9, status(401, &[("x-error-message", "Invalid\tcredentials")]));
        assert_fault(
            &fixture,
            file,
            "set HF_TOKEN",
            |fault| matches!(fault, HubFault::Unauthorized { has_token: false, said, .. } if said == "Invalid credentials"),
        );
    }
    let fixture = Fixture::new();
    fixture.hub.require_token("right");
    let fetched = |token: &str| {
        let mut settings = settings(&fixture.hub, fixture.cache.path());
        settings.token = Some(token.to_owned());
        client_of(settings).fetch(&model(ID), Files::Checkpoint)
    };
    let (_, fault) = fault_of(fetched("wrong").unwrap_err());
    assert!(
        matches!(fault, HubFault::Unauthorized { has_token: true, .. }),
        "{fault}"
    );
    assert!(!fault.to_string().contains("wrong"), "{fault}");
    fetched("right").unwrap();
}

#[test]
fn a_gated_model_names_the_page_of_its_conditions() {
    for (code, headers) in [(401, vec![("x-error-code", "GatedRepo")]), (403, vec![])] {
        let fixture = Fixture::new();
        fixture.hub.fail("resolve", 9, status(code, &headers));
        let page = format!("accept its conditions at {}/some/model", fixture.hub.url);
        assert_fault(
            &fixture,
            "config.json",
            &page,
            |fault| matches!(fault, HubFault::Gated { status, .. } if *status == code),
        );
    }
    let fixture = Fixture::new();
    fixture
        .hub
        .fail("resolve", 9, status(403, &[("x-error-code", "DisabledRepo")]));
    assert_fault(&fixture, "config.json", "HF_TOKEN", |fault| {
        matches!(fault, HubFault::Forbidden { .. })
    });
}

#[test]
fn an_unknown_model_revision_or_file_is_named() {
    let fixture = Fixture::new();
    let fault = |name: &str, files| fault_of(fixture.client.fetch(&model(name), files).unwrap_err());
    let (_, unknown) = fault("no/model", Files::Checkpoint);
    assert!(matches!(unknown, HubFault::NotFound { .. }), "{unknown}");
    assert!(unknown.to_string().contains("check the name"), "{unknown}");
    let (_, unknown) = fault("some/model@v9", Files::Checkpoint);
    assert!(
        matches!(&unknown, HubFault::RevisionNotFound { revision, .. } if revision == "v9"),
        "{unknown}"
    );
    let (file, unknown) = fault("some/model", Files::Onnx("onnx/model.onnx"));
    assert_eq!(file, "onnx/model.onnx");
    assert!(matches!(unknown, HubFault::FileNotFound { .. }), "{unknown}");
    // Listed, and then removed.
    fixture.hub.fail(
        "config.json",
        1,
        status(404, &[("x-error-code", "EntryNotFound")]),
    );
    assert_fault(&fixture, "config.json", "no such file", |fault| {
        matches!(fault, HubFault::FileNotFound { .. })
    });
}

#[test]
fn an_absent_file_names_those_that_the_model_has() {
    let fixture = Fixture::new();
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("onnx/model_quantized.onnx", b""),
        ("onnx/model.onnx", b""),
    ];
    fixture.hub.commit("a/b", "main", &files);
    for files in [
        Files::Onnx("model.onnx"),
        Files::Checkpoint,
        Files::Onnx("../model.onnx"),
    ] {
        let (_, fault) = fault_of(fixture.client.fetch(&model("a/b"), files).unwrap_err());
        assert!(
            fault
                .to_string()
                .contains("it has onnx/model.onnx, onnx/model_quantized.onnx"),
            "{fault}"
        );
    }
}

#[test]
fn a_limited_rate_and_a_fault_of_the_hub_are_met_with_further_attempts() {
    let limited = || status(429, &[("retry-after", "0")]);
    for at in ["/api/models", "HEAD /some/model/resolve", WEIGHTS] {
        for fault in [
            limited(),
            status(503, &[]),
            status(500, &[]),
            status(408, &[]),
            Fault::Close,
        ] {
            let fixture = Fixture::new();
            fixture.hub.fail(at, 2, fault);
            fixture.fetch_whole();
        }
        let file = match at {
            WEIGHTS => "model.safetensors",
            "/api/models" => "list of files",
            _ => "config.json",
        };
        let fixture = Fixture::new();
        fixture.hub.fail(at, 3, limited());
        assert_fault(&fixture, file, "try again in 0 s", |fault| {
            matches!(fault, HubFault::RateLimited { .. })
        });
        let fixture = Fixture::new();
        fixture.hub.fail(at, 3, status(502, &[]));
        assert_fault(&fixture, file, "try again later", |fault| {
            matches!(fault, HubFault::Server { status: 502, .. })
        });
    }
}

#[test]
fn a_wait_that_the_hub_asks_for_is_kept_unless_it_is_too_long() {
    let fixture = Fixture::new();
    fixture
        .hub
        .fail("/api/models", 1, status(429, &[("retry-after", "1")]));
    let started = std::time::Instant::now();
    fixture.fetch_whole();
    assert!(started.elapsed() >= Duration::from_secs(1));
    let fixture = Fixture::new();
    fixture
        .hub
        .fail("/api/models", 1, status(429, &[("retry-after", "3600")]));
    assert_fault(&fixture, "list of files", "try again in 3600 s", |fault| {
        matches!(fault, HubFault::RateLimited { wait: Some(_) })
    });
}

#[test]
fn a_hub_without_answer_is_unreachable() {
    let fixture = Fixture::new();
    fixture.hub.fail("/api/models", 3, Fault::Stall(0));
    assert_fault(&fixture, "list of files", "HF_HUB_OFFLINE=1", |fault| {
        matches!(fault, HubFault::Unreachable { .. })
    });
    let mut settings = settings(&fixture.hub, tempfile::tempdir().unwrap().path());
    settings.endpoint = "http://user:secret@127.0.0.1:9/hub?key=secret".parse().unwrap();
    let error = client_of(settings)
        .fetch(&model(ID), Files::Checkpoint)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("http://127.0.0.1:9/hub/api/models/some/model/revision/main"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_status_of_the_storage_is_not_taken_for_one_of_the_hub() {
    let fixture = Fixture::new();
    fixture.hub.fail(WEIGHTS, 9, status(403, &[]));
    assert_fault(
        &fixture,
        "model.safetensors",
        "try again later",
        |fault| matches!(fault, HubFault::Storage { status: 403, url } if !url.contains("secret")),
    );
}

#[test]
fn an_answer_without_meaning_is_refused() {
    let other_commit = "0123456789012345678901234567890123456789";
    for (at, file, fault) in [
        ("/api/models", "list of files", Fault::Body("<html>log in</html>")),
        (
            "/api/models",
            "list of files",
            Fault::Body("{\"sha\": \"main\", \"siblings\": []}"),
        ),
        ("/api/models", "list of files", Fault::Body("{\"siblings\": []}")),
        (
            "/api/models",
            "list of files",
            status(302, &[("location", "file:///etc/passwd")]),
        ),
        (
            "/api/models",
            "list of files",
            status(302, &[("location", "/api/models/some/model/revision/main")]),
        ),
        ("HEAD", "config.json", Fault::Header("etag", "")),
        ("HEAD", "config.json", Fault::Header("etag", "\"../../escape\"")),
        (
            "HEAD",
            "config.json",
            Fault::Header("x-repo-commit", other_commit),
        ),
    ] {
        let fixture = Fixture::new();
        fixture.hub.fail(at, 99, fault.clone());
        assert_fault(&fixture, file, "check HF_ENDPOINT", |fault| {
            matches!(fault, HubFault::Answer { .. })
        });
    }
    let fixture = Fixture::new();
    fixture.hub.fail("/api/models", 1, status(418, &[]));
    assert_fault(&fixture, "list of files", "check HF_ENDPOINT", |fault| {
        matches!(fault, HubFault::Status { status: 418 })
    });
}

#[test]
fn a_truncated_file_is_an_error_only_if_no_attempt_brings_more() {
    let fixture = Fixture::new();
    fixture.hub.fail(WEIGHTS, 1, Fault::Cut(1000));
    fixture.hub.fail(WEIGHTS, 99, Fault::Cut(0));
    assert_fault(&fixture, "model.safetensors", "continues there", |fault| {
        matches!(
            fault,
            HubFault::Truncated {
                received: 1000,
                size: 300_000
            }
        )
    });
}

#[test]
fn an_altered_file_is_downloaded_again_and_refused_the_second_time() {
    for (at, file) in [
        (WEIGHTS, "model.safetensors"),
        ("GET /some/model/resolve", "config.json"),
    ] {
        let fixture = Fixture::new();
        fixture.hub.fail(at, 1, Fault::Alter);
        fixture.fetch_whole();
        let fixture = Fixture::new();
        fixture.hub.fail(at, 2, Fault::Alter);
        let (_, fault) = fixture.fault();
        assert!(matches!(fault, HubFault::Altered { .. }), "{fault}");
        assert_eq!(incomplete(fixture.cache.path()).len(), 0);
        fixture.hub.fail(at, 2, Fault::Alter);
        assert_fault(&fixture, file, "proxy or mirror", |fault| {
            matches!(
                fault,
                HubFault::Altered {
                    what: "SHA-256" | "Git hash",
                    ..
                }
            )
        });
    }
}

#[test]
fn a_file_of_another_size_is_refused() {
    for fault in [Fault::Header("content-length", "300001"), Fault::Body("short")] {
        let fixture = Fixture::new();
        fixture.hub.fail(WEIGHTS, 9, fault);
        assert_fault(&fixture, "model.safetensors", "size", |fault| {
            matches!(fault, HubFault::Altered { what: "size", .. })
        });
    }
}

#[test]
fn a_hash_that_the_hub_does_not_give_is_not_checked() {
    let fixture = Fixture::new();
    let etag = "\"d41d8cd98f00b204e9800998ecf8427e\"";
    fixture.hub.fail("HEAD", 99, Fault::Header("etag", etag));
    let snapshot = fixture.client.fetch(&model(ID), Files::Tokenizer).unwrap();
    fixture.client.verify(&model(ID), &snapshot).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_names_the_file_and_leaves_no_part() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.blobs()).unwrap();
    let part = fixture
        .blobs()
        .join(format!("{}.incomplete", sha256(&fixture.weights)));
    symlink("/dev/full", &part).unwrap();
    let shown = part.display().to_string();
    assert_fault(&fixture, "model.safetensors", "set HF_HUB_CACHE", |fault| {
        matches!(
            fault,
            HubFault::DiskFull {
                size: Some(300_000),
                ..
            }
        ) && fault.to_string().contains(&shown)
    });
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let fixture = Fixture::new();
    // For every user: a file stands where the directory of the model is.
    let path = fixture.cache.path().join("models--some--model");
    std::fs::write(&path, b"").unwrap();
    let (file, fault) = fixture.fault();
    assert_eq!(file, "config.json");
    assert!(matches!(fault, HubFault::Cache { .. }), "{fault}");
    assert!(
        fault.to_string().contains("models--some--model") && fault.to_string().contains("HF_HUB_CACHE"),
        "{fault}"
    );
    std::fs::remove_file(path).unwrap();
    fixture.fetch_whole();
}

#[test]
fn a_cache_of_another_user_is_read() {
    let fixture = Fixture::new();
    fixture.fetch_whole();
    let dir = fixture.cache.path().join("models--some--model");
    std::fs::set_permissions(&dir, Permissions::from_mode(0o555)).unwrap();
    fixture.fetch_whole();
    std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn pickled_weights_are_refused_with_the_command_that_converts_them() {
    let fixture = Fixture::new();
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("vocab.txt", b""),
        ("pytorch_model.bin", b""),
    ];
    let (file, fault) = fixture.refused(&files);
    assert!(matches!(fault, HubFault::Pickle { .. }), "{fault}");
    let text = fault.to_string();
    assert_eq!(file, "model.safetensors");
    assert!(
        text.contains("from_pretrained('a/b')") && text.contains("pytorch_model.bin"),
        "{text}"
    );
    // Nothing was downloaded.
    assert!(fixture.hub.requests("/resolve/").is_empty());
}

#[test]
fn a_model_without_tokenizer_is_refused_with_the_command_that_writes_it() {
    let fixture = Fixture::new();
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("merges.txt", b""),
        ("model.safetensors", b""),
    ];
    let (file, fault) = fixture.refused(&files);
    assert_eq!(file, "tokenizer.json");
    assert!(
        fault.to_string().contains("AutoTokenizer.from_pretrained('a/b')"),
        "{fault}"
    );
}
