//! The binary `tidings`: configuration, command line, wiring, life cycle.

mod apply;
mod cli;
mod clock;
mod commands;
mod config;
mod database;
mod failure;
mod folder;
mod installation;
mod mail_in;
mod master_key;
mod node;
mod scratch;
mod telemetry;

use anyhow::Result;
use clap::Parser;
use cli::whatsapp_web::WhatsappWeb;
use cli::{Cli, Command};
use config::{Config, Environment};
use installation::{Installation, Opening};
use std::process::ExitCode;
use telemetry::LogFormat;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    end_quietly_with_the_reader();
    let cli = Cli::parse();
    let takes_mail = matches!(cli.command, Command::Mail(_));
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            // A wrong variable must not make a mail server return a mail as undeliverable.
            ExitCode::from(if takes_mail {
                commands::mail::TRY_LATER
            } else {
                failure::exit_code(&error)
            })
        }
    }
}

/// Whoever reads the output may have had enough (`| head`): that ends the command, without a backtrace.
fn end_quietly_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if !text.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe")) {
            usual(panic);
        }
    }));
}

fn start(cli: Cli) -> Result<ExitCode> {
    let environment = Environment::load()?;
    let mut config = Config::from_environment(&environment)?;
    if let Some(data_dir) = &cli.data_dir {
        config.data_dir.clone_from(data_dir);
    } else if environment.get(&["TIDINGS_DATA_DIR"]).is_none() {
        config.data_dir = tidings_postgres::default_data_dir(config.data_dir.clone());
    }
    if let Command::Serve(options) = &cli.command {
        // Before anything is built on it: links lead to the address that is really served.
        config.listen = options.listen.unwrap_or(config.listen);
        config.mail_listen = options.mail_listen.or(config.mail_listen);
        config.mail_tls = options.mail_tls().or(config.mail_tls);
        config.metrics_listen = options.metrics_listen.or(config.metrics_listen);
    }
    if cli.pg_bin.is_some() {
        config.pg_bin.clone_from(&cli.pg_bin);
    }
    let serving = matches!(
        cli.command,
        Command::Serve(_) | Command::WhatsappWeb(WhatsappWeb::Serve(_))
    );
    let filter = match (serving, environment.get(&["RUST_LOG", "LOG_LEVEL"])) {
        (true, _) | (false, Some(_)) => config.log_filter.clone(),
        // A command's answer is on standard output; only what went wrong belongs beside it.
        (false, None) => "warn".to_owned(),
    };
    telemetry::start_logging(
        &filter,
        if serving {
            LogFormat::Json
        } else {
            LogFormat::Human
        },
    )?;
    // One TLS library for every connection of the process.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli, config, environment))
}

async fn dispatch(cli: Cli, config: Config, environment: Environment) -> Result<ExitCode> {
    let json = cli.json;
    match cli.command {
        Command::Serve(options) => {
            let metrics = telemetry::start_metrics()?;
            let opening = if options.no_migrate {
                Opening::EngineWithoutMigration
            } else {
                Opening::Engine
            };
            let installation = Installation::open(config, environment, opening).await?;
            let done = commands::serve::run(&installation, &options, metrics).await;
            finish(installation, done).await
        }
        Command::Demo(options) => {
            // Large: it holds every step of the demo.
            Box::pin(commands::demo::run(config, environment, &options)).await
        }
        Command::Sandbox(options) => {
            commands::sandbox::run(&options, json).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::WhatsappWeb(command) => {
            match command {
                WhatsappWeb::Serve(options) => commands::whatsapp_web::serve(&config, &options, json).await?,
                WhatsappWeb::Pair(options) => commands::whatsapp_web::pair(&options, json).await?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => {
            let code = commands::doctor::run(config, environment, json).await?;
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
        Command::Mail(cli::Mail::Receive(options)) => {
            Ok(commands::mail::receive(config, environment, &options, json).await)
        }
        Command::Migrate => {
            let installation = Installation::open(config, environment, Opening::GuestAnySchema).await?;
            let done = commands::migrate::run(&installation, json).await;
            finish(installation, done).await
        }
        other => {
            let installation = Installation::open(config, environment, Opening::Guest).await?;
            let done = guest(&installation, &other, json).await;
            finish(installation, done).await
        }
    }
}

/// Commands that join a running engine's database, or open it for as long as they last.
async fn guest(installation: &Installation, command: &Command, json: bool) -> Result<()> {
    match command {
        Command::Apply(options) => commands::apply::run(installation, options, json).await,
        Command::Send(options) => commands::send::run(installation, options, json).await,
        Command::Explain(options) => commands::explain::run(installation, options, json).await,
        Command::Queue(command) => commands::queue::run(installation, command, json).await,
        Command::Connection(command) => commands::connection::run(installation, command, json).await,
        Command::Key(command) => commands::key::run(installation, command, json).await,
        Command::Source(command) => commands::source::run(installation, command, json).await,
        Command::Campaign(command) => commands::campaign::run(installation, command, json).await,
        Command::Analytics(options) => commands::analytics::run(installation, options, json).await,
        Command::Alert(command) => commands::alert::run(installation, command, json).await,
        Command::Approval(command) => commands::approval::run(installation, command, json).await,
        Command::Simulate(options) => Box::pin(commands::simulate::run(installation, options, json)).await,
        Command::Keys(cli::Keys::Rotate) => commands::keys::rotate(installation, json).await,
        Command::Serve(_)
        | Command::Demo(_)
        | Command::Mail(_)
        | Command::Migrate
        | Command::Doctor
        | Command::Sandbox(_)
        | Command::WhatsappWeb(_) => Ok(()),
    }
}

async fn finish(installation: Installation, done: Result<()>) -> Result<ExitCode> {
    let closed = installation.close().await;
    done?;
    closed?;
    Ok(ExitCode::SUCCESS)
}
