//! The certificate of the mail server: read from files, checked, and read again when somebody renewed them.

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::{InconsistentKeys, ServerConfig};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Bytes that are read of a file; a chain has a few thousand.
const LONGEST: u64 = 1024 * 1024;

/// Where the certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain in PEM form: the server's own certificate first, then those that lead to the authority.
    pub certificate: PathBuf,
    /// The key of the first certificate in PEM form (PKCS #8, PKCS #1 or SEC 1), without a password.
    pub key: PathBuf,
}

/// Why the files cannot be used: what is wrong with which, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file system says no.
    #[error("{} cannot be read ({error}); name a file that this process may read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        error: std::io::Error,
    },
    /// It is longer than any certificate.
    #[error("{} has more than {LONGEST} bytes; name a file with nothing but a certificate chain or a key", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// No certificate is in it.
    #[error("{} holds no certificate; it must hold the chain in PEM form, the server's own certificate first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No key is in it.
    #[error("{} holds no private key; it must hold one in PEM form, without a password", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// What is in it cannot be read as what it says it is.
    #[error("{} is damaged ({problem}); copy it again from where it was issued", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key is another's.
    #[error(
        "the key in {} is not that of the first certificate in {}; name the two that were issued together, the server's own certificate first",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Both are whole, and the TLS library does not work with them.
    #[error(
        "TLS cannot work with {} and {} ({error}); use a key of a usual kind: ECDSA P-256, or RSA of 2048 bits or more",
        certificate.display(),
        key.display()
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        error: rustls::Error,
    },
}

/// A certificate with its key, followed as its files are renewed.
pub struct Certificate {
    files: TlsFiles,
    config: Mutex<Arc<ServerConfig>>,
    /// Held by whoever looks at the files. Others do not wait; they go on with what is there.
    look: tokio::sync::Mutex<Look>,
}

/// The latest look at the files.
struct Look {
    at: Instant,
    /// Of what was found: a mark, so that the text of the key is not kept.
    mark: u64,
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.files.certificate.display())
    }
}

impl Certificate {
    /// Reads the files and checks that they belong together. How long the certificate is valid, and for which name, is not looked at:
    /// servers that send mail hardly ask (RFC 7435), and one that expired yesterday still encrypts.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub async fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let read = read(&files).await;
        let look = Look {
            at: Instant::now(),
            mark: mark(&read),
        };
        let config = configure(&files, &read?)?;
        Ok(Self {
            files,
            config: Mutex::new(config),
            look: tokio::sync::Mutex::new(look),
        })
    }

    /// What a handshake is made with. The files are looked at first where the latest look is as long ago as `age`. What cannot be used
    /// leaves everything as it is, and is told once.
    pub(crate) async fn config(&self, age: Duration) -> Arc<ServerConfig> {
        match self.look(age).await {
            Ok(false) => {}
            Ok(true) => {
                count("renewed");
                tracing::info!(certificate = %self.files.certificate.display(), "the mail server uses a renewed certificate");
            }
            Err(error) => {
                count("refused");
                tracing::error!(%error, "the mail server's renewed certificate cannot be used; the one before stays in use");
            }
        }
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&config)
    }

    /// Looks at the files where the latest look is as long ago as `age`, and takes over what was renewed: true where something was.
    ///
    /// # Errors
    /// What is wrong with which file, once for each change. A renewal that is caught between its two files is such a change; the next
    /// look finds both.
    pub async fn look(&self, age: Duration) -> Result<bool, TlsError> {
        let Ok(mut look) = self.look.try_lock() else {
            return Ok(false);
        };
        if look.at.elapsed() < age {
            return Ok(false);
        }
        look.at = Instant::now();
        let read = read(&self.files).await;
        let mark = mark(&read);
        if mark == look.mark {
            return Ok(false);
        }
        look.mark = mark;
        let config = configure(&self.files, &read?)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(true)
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("tidings_mail_certificates_total", "outcome" => outcome).increment(1);
}

/// The text of both files.
#[derive(Hash)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

async fn read(files: &TlsFiles) -> Result<Pem, TlsError> {
    Ok(Pem {
        certificate: read_file(&files.certificate).await?,
        key: read_file(&files.key).await?,
    })
}

async fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut text = Vec::new();
    let length = file.take(LONGEST + 1).read_to_end(&mut text).await;
    if length.map_err(unreadable)? as u64 > LONGEST {
        return Err(TlsError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// The same for the same content or the same trouble.
fn mark(read: &Result<Pem, TlsError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match read {
        Ok(pem) => pem.hash(&mut hasher),
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

/// TLS 1.2 and 1.3 with this certificate, and no questions about the client's.
fn configure(files: &TlsFiles, pem: &Pem) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = chain(&files.certificate, &pem.certificate)?;
    let key = key(&files.key, &pem.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let (certificate, key) = (files.certificate.clone(), files.key.clone());
    config.map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate, key }
        }
        error => TlsError::Unusable {
            certificate,
            key,
            error,
        },
    })
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let sections = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = sections.map_err(|error| damaged(path, problem(&error)))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
        });
    }
    for (index, certificate) in chain.iter().enumerate() {
        ParsedCertificate::try_from(certificate)
            .map_err(|_| damaged(path, format!("certificate number {} is not one", index + 1)))?;
    }
    Ok(chain)
}

fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        error => damaged(path, problem(&error)),
    })
}

/// Without the text of the file.
fn problem(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        PemError::IllegalSectionStart { .. } => "a section has no proper beginning".to_owned(),
        other => other.to_string(),
    }
}

fn damaged(path: &Path, problem: String) -> TlsError {
    TlsError::Damaged {
        path: path.to_owned(),
        problem,
    }
}
