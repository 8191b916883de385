//! `larder top`: a running Larder's routes and figures, live on a terminal.
//!
//! ```text
//! stream (a task) ─┐
//! keys (a thread) ─┼─► board ─► view
//! signals ─────────┘
//! ```
//! Invariant: however it ends, by a key, a signal, or a panic, the terminal is as it was.

mod board;
mod view;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Terminal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::access_log::may_colour;
use crate::cli::admin_client::{Access, Admin, Failure};
use crate::cli::stream::{Next, Stream};
use crate::cli::top::board::{Board, Key};
use crate::cli::{follow, print};
use crate::config::Env;

const EXAMPLES: &str = "\
Examples:
  larder top
  larder top --once              one frame, as text: no terminal is needed
  larder top --json              one look at all figures

Keys: ↑↓ another route, s sort, p pause, ? help, q end.";

/// Size of a frame where there is no terminal.
const FRAME: (u16, u16) = (110, 32);
/// How many things may wait to be shown.
const WAITING: usize = 64;

/// `larder top`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Print one frame as text, and end
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// For programs: all figures at once, and end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// What happens on this side.
enum Here {
    Key(Key),
    Resized,
    End,
}

/// Runs the command by the machine's environment, terminal and stdout.
pub fn run(args: &Args) -> ExitCode {
    follow(watch(args))
}

async fn watch(args: &Args) -> Result<(), Failure> {
    let admin = args.access.find(&Env::system())?;
    if args.json {
        let figures = admin.get("/v1/figures", "totals").await?;
        return print(&format!("{figures:#}\n"));
    }
    if !args.once && !stdout().is_terminal() {
        let words = "stdout is no terminal: ask for one frame with --once, or for figures with --json";
        return Err(Failure::usage(words));
    }
    let mut heard = listen(admin).await?;
    let mut board = Board::default();
    if args.once {
        while board.row.is_none() {
            match heard.recv().await {
                Some(Next::Broken(why)) => return Err(Failure::new(why)),
                Some(next) => board.takes(next),
                None => return Err(Failure::new("nothing is heard any more")),
            }
        }
        return print(&text(&board, FRAME.0, FRAME.1));
    }
    // It puts the terminal back before a panic is told, too.
    let mut terminal = ratatui::try_init().map_err(|why| Failure::new(format!("the terminal: {why}")))?;
    let shown = show(&mut terminal, &mut board, heard).await;
    let restored = ratatui::try_restore();
    shown.and(restored).map_err(|why| Failure::new(format!("the terminal: {why}")))
}

/// Hears the stream in a task of its own, so that no wait of it is cut short by a key.
async fn listen(admin: Admin) -> Result<mpsc::Receiver<Next>, Failure> {
    let query = [("events", Some("figures,invalidations")), ("every", Some("1s"))];
    let mut stream = Stream::open(admin, &query).await?;
    let (tell, heard) = mpsc::channel(WAITING);
    tokio::spawn(async move { while tell.send(stream.next().await).await.is_ok() {} });
    Ok(heard)
}

async fn show(
    terminal: &mut DefaultTerminal,
    board: &mut Board,
    mut heard: mpsc::Receiver<Next>,
) -> std::io::Result<()> {
    let colour = may_colour(&stdout());
    let mut here = keys();
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    loop {
        terminal.draw(|frame| view::draw(frame, board, colour))?;
        tokio::select! {
            Some(next) = heard.recv() => board.takes(next),
            happened = here.recv() => match happened {
                Some(Here::Key(key)) => board.press(key),
                Some(Here::Resized) => {}
                Some(Here::End) | None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// Keys as they are pressed, read by a thread that ends with the process.
fn keys() -> mpsc::Receiver<Here> {
    let (tell, told) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        while !tell.is_closed() {
            let here = match event::poll(Duration::from_millis(250)).and_then(|is_there| match is_there {
                true => event::read().map(Some),
                false => Ok(None),
            }) {
                Ok(None) => continue,
                Ok(Some(event)) => read(&event),
                // The terminal is gone.
                Err(_) => Some(Here::End),
            };
            if here.is_some_and(|here| tell.blocking_send(here).is_err()) {
                return;
            }
        }
    });
    told
}

fn read(event: &Event) -> Option<Here> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return matches!(event, Event::Resize(..)).then_some(Here::Resized);
    };
    Some(match code {
        KeyCode::Char('q') | KeyCode::Esc => Here::End,
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Here::End,
        KeyCode::Up | KeyCode::Char('k') => Here::Key(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Here::Key(Key::Down),
        KeyCode::Char('s') => Here::Key(Key::Sort),
        KeyCode::Char('p' | ' ') => Here::Key(Key::Pause),
        KeyCode::Char('?' | 'h') => Here::Key(Key::Help),
        _ => return None,
    })
}

/// One frame as text.
fn text(board: &Board, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(frame) = terminal.draw(|frame| view::draw(frame, board, false));
    let line = |y: u16| -> String {
        (0..width).filter_map(|x| frame.buffer.cell((x, y))).map(|cell| cell.symbol()).collect()
    };
    let mut text: String = (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect();
    text.truncate(text.trim_end().len());
    text + "\n"
}
