//! A process that `benches/compare.py` tells what to do, one line at a time; every line is answered by one.
//!
//! | line | does | answer |
//! |---|---|---|
//! | `weights` | writes the initial weights to the folder | `ok` |
//! | `load` | reads task, weights and inputs from the folder, compiles | `ok` |
//! | `compare` | runs once (training: three steps), writes outputs, losses, gradients to `netc.npz` | `ok` |
//! | `run N` | runs `N` times | milliseconds of each call |
//! | `cpu N` | the same | milliseconds that the calling thread worked: with one thread alone, on a busy machine |
//! | `memory` | | the process's largest and present resident memory, in bytes |
//! | `operations` | | multiplications and additions of products in a call, as counted in the compiled program |

use std::io::{BufRead, Write};
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use netc::Session;
use netc::data::{Preparation, file, read_input, write_npz};
use netc::kernel::cost::cost;
use netc_runtime::kernels::limits::thread_seconds;

use crate::task::{self, Arrays, Call, Task, times};

/// Training steps whose losses are compared: the third shows the update with momentum.
const STEPS: usize = 3;

struct Loaded {
    session: Session,
    arrays: Arrays,
}

/// Until the standard input ends. What goes wrong is answered with `error …`.
pub(crate) fn serve(folder: &Path) -> Result<(), String> {
    let task = Task::read(&folder.join("task.json"))?;
    let mut loaded = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let answer = obey(&task, folder, &mut loaded, &line);
        println!("{}", answer.unwrap_or_else(|message| format!("error {}", message.replace('\n', " "))));
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn obey(task: &Task, folder: &Path, loaded: &mut Option<Loaded>, line: &str) -> Result<String, String> {
    let text = |error: netc::Error| error.to_string();
    let weights = folder.join("weights.safetensors");
    let (verb, count) = line.split_once(' ').unwrap_or((line, "1"));
    match verb {
        "weights" => {
            let session = task.session(None).map_err(text)?;
            file::write(&weights, |writer| session.save(false, &Default::default(), writer)).map_err(text)?;
            return Ok("ok".to_owned());
        }
        "load" => {
            let mut session = task.session(Some(&weights)).map_err(text)?;
            let path = |name: &str| folder.join(format!("{name}.npy")).display().to_string();
            let arrays = task.arrays(&session, |port| read_input(port, &path(&port.name), &Preparation::default()));
            let arrays = arrays.map_err(text)?;
            session.compile(task.call.entry(), &mut ()).map_err(text)?;
            *loaded = Some(Loaded { session, arrays });
            return Ok("ok".to_owned());
        }
        "memory" => return memory(),
        _ => {}
    }
    let Loaded { session, arrays } = loaded.as_mut().ok_or("nothing is loaded")?;
    match verb {
        "compare" => {
            let results = results(session, task.call, arrays).map_err(text)?;
            let views: Vec<_> = results.iter().map(|(name, array)| (name.as_str(), array.view())).collect();
            file::write(&folder.join("netc.npz"), |writer| write_npz(writer, views)).map_err(text)?;
            Ok("ok".to_owned())
        }
        "run" | "cpu" => {
            let clock = if verb == "run" { task::clock } else { thread_seconds };
            let calls = count.parse().map_err(|_| format!("`{count}` is no number"))?;
            let times = times(session, task.call, arrays, calls, clock).map_err(text)?;
            Ok(times.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
        }
        "operations" => {
            let extents = task.extents(session);
            let compiled = session.compile(task.call.entry(), &mut ()).map_err(text)?;
            let program = &compiled.scheduled.program;
            let products = program.steps.iter().map(|step| cost(program, step, &extents).products);
            Ok(products.sum::<f64>().to_string())
        }
        other => Err(format!("`{other}` is no command")),
    }
}

/// What is compared with other systems, under netc's names.
fn results(session: &mut Session, call: Call, arrays: &Arrays) -> Result<Vec<(String, ArrayD<f32>)>, netc::Error> {
    if call == Call::Train {
        let losses = (0..STEPS).map(|_| Ok(call.run(session, arrays)?.loss().unwrap_or(f32::NAN)));
        let losses = losses.collect::<Result<Vec<f32>, netc::Error>>()?;
        let losses = ArrayD::from_shape_vec(IxDyn(&[STEPS]), losses).expect("as many as steps");
        return Ok(vec![("losses".to_owned(), losses)]);
    }
    let outputs = call.run(session, arrays)?;
    let mut results: Vec<_> = outputs.outputs().map(|(_, array)| ("output".to_owned(), array.to_owned())).collect();
    let loss = outputs.loss().map(|loss| ("losses".to_owned(), ArrayD::from_elem(IxDyn(&[1]), loss)));
    let gradients = outputs.gradients().map(|(path, array)| (format!("gradient of {path}"), array.to_owned()));
    results.extend(loss);
    results.extend(gradients);
    Ok(results)
}

/// As the system tells it.
fn memory() -> Result<String, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    };
    match (bytes("VmHWM:"), bytes("VmRSS:")) {
        (Some(most), Some(now)) => Ok(format!("{most} {now}")),
        _ => Err("the system does not tell".to_owned()),
    }
}
