//! Parameters as safetensors: the files of the compiler's sessions.
#![expect(unsafe_code, reason = "floats are read and written as bytes")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::order::sort_by;

use super::description::Keeping;
use super::error::{Error, Status, ensure};
use super::instance::{Instance, Kept};
use super::layout::elements;
use super::safetensors::{Entry, Header, LONGEST, put_string};

/// In front of the name of a recurrent state that goes on from call to call.
const CARRY: &str = "carry.";
/// In front of the name of what the optimizer remembers.
const OPTIMIZER: &str = "optimizer.";

/// Where the values of a tensor go.
enum Place {
    Tensor(usize),
    State(usize, Kept),
    Nowhere,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Status::InvalidWeights, message)
}

impl Instance {
    /// Replaces all parameters by those of a safetensors file, and the optimizer's moments, the number of steps and
    /// carried states where it has them.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or a tensor is missing, unknown, of another shape or not `f32`. Nothing
    /// has changed then, unless reading failed midway.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let shown = path.display();
        let failed = |error: &io::Error| Error::new(Status::File, format!("cannot read `{shown}`: {error}"));
        let mut file = File::open(path).map_err(|error| failed(&error))?;
        let len = file.metadata().map_err(|error| failed(&error))?.len();
        self.load_from(&mut file, len, &failed)
    }
    /// [`Instance::load`] from memory.
    ///
    /// # Errors
    /// As [`Instance::load`].
    pub fn load_memory(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |error: &io::Error| invalid(format!("the weights cannot be read: {error}"));
        self.load_from(&mut Cursor::new(bytes), bytes.len() as u64, &failed)
    }

    fn load_from<R: Read + Seek>(
        &mut self,
        source: &mut R,
        len: u64,
        failed: &dyn Fn(&io::Error) -> Error,
    ) -> Result<(), Error> {
        let mut prefix = [0; 8];
        ensure!(len >= 8, InvalidWeights, "the weights cannot be read: they have {len} bytes");
        source.read_exact(&mut prefix).map_err(|error| failed(&error))?;
        let header_len = u64::from_le_bytes(prefix);
        let fits = header_len <= LONGEST && header_len <= len - 8;
        ensure!(fits, InvalidWeights, "the weights cannot be read: a header of {header_len} bytes does not fit");
        let mut json = vec![0; header_len as usize];
        source.read_exact(&mut json).map_err(|error| failed(&error))?;
        let header = Header::parse(&json, len - 8 - header_len).map_err(invalid)?;
        drop(json);
        let places = self.check(&header)?;
        let step = header.metadata.iter().find(|(key, _)| key == "step").map(|(_, step)| step);
        let step: Option<u64> = step
            .map(|step| step.parse().map_err(|_| invalid(format!("`{step}` is no number of steps"))))
            .transpose()?;

        self.reset();
        self.version += 1;
        for (tensor, place) in header.tensors.iter().zip(places) {
            let values = match place {
                Place::Tensor(at) => self.tensor_mut(at),
                Place::State(state, kept) => {
                    self.kept[state] = kept;
                    self.state_mut(state)
                }
                Place::Nowhere => None,
            };
            let Some(values) = values else { continue };
            let start = 8 + header_len + tensor.start;
            let read = source.seek(SeekFrom::Start(start)).and_then(|_| read_floats(source, values));
            read.map_err(|error| {
                let mut error = failed(&error);
                error.message += "; some parameters have been replaced";
                error
            })?;
        }
        if let Some(step) = step {
            self.step = step;
        }
        Ok(())
    }

    /// Where each tensor of the file goes, when all fit.
    fn check(&self, header: &Header) -> Result<Vec<Place>, Error> {
        let d = self.description();
        for &at in &self.parameters {
            let (path, shape) = (&d.tensors[at].path, &d.tensors[at].shape);
            let Some(tensor) = header.tensors.iter().find(|tensor| tensor.name == *path) else {
                return Err(invalid(format!("the weights have no `{path}`")));
            };
            check(path, tensor, shape)?;
        }
        let place = |tensor: &Entry| {
            let name = &tensor.name;
            if let Some(state) = name.strip_prefix(CARRY) {
                return self.check_state(state, tensor);
            }
            let found = d.tensors.iter().position(|known| known.path == *name);
            if let Some(at) = found {
                check(name, tensor, &d.tensors[at].shape)?;
                return Ok(Place::Tensor(at));
            }
            let Some(rest) = name.strip_prefix(OPTIMIZER) else {
                return Err(invalid(format!("the network has no parameter `{name}`, which the weights have")));
            };
            // Of an optimizer that this network does not train with.
            let path = rest.split_once('.').map_or("", |(_, path)| path);
            let parameter = d.tensors.iter().find(|known| known.path == path && known.keeping == Keeping::Parameter);
            let Some(parameter) = parameter else {
                return Err(invalid(format!("`{name}` belongs to no parameter of the network")));
            };
            check(name, tensor, &parameter.shape)?;
            Ok(Place::Nowhere)
        };
        header.tensors.iter().map(place).collect()
    }

    /// States that the instance does not carry are not read.
    fn check_state(&self, name: &str, tensor: &Entry) -> Result<Place, Error> {
        let carries = self.description().entries.iter().any(|entry| entry.carried);
        let state = self.states.iter().position(|state| state.name == name).filter(|_| carries);
        let Some(state) = state.filter(|&state| self.layout.states[state].is_some()) else { return Ok(Place::Nowhere) };
        let shape = &self.states[state].shape;
        let batch = tensor.shape.first().copied().unwrap_or(1);
        let mut values = vec![0; self.description().symbols.len()];
        self.description().eval_symbols(batch, |axis| self.limits.steps[axis] as u64, &mut values);
        let expected: Vec<u64> = shape.iter().map(|size| size.eval(&values)).collect();
        check(&tensor.name, tensor, &expected)?;
        let most = self.limits.batch;
        ensure!(
            batch >= 1 && batch <= most as u64,
            InvalidWeights,
            "`{}` is that of a batch of {batch}, and the instance takes {most}",
            tensor.name
        );
        Ok(Place::State(state, Kept { batch, len: elements(shape, &values) as usize }))
    }

    /// Writes all parameters to a safetensors file, with `training` also the optimizer's moments, the number of steps and
    /// carried states. The file is either complete or as it was before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path, training: bool) -> Result<(), Error> {
        let failed = |error: io::Error| Error::new(Status::File, format!("cannot write `{}`: {error}", path.display()));
        let (temporary, file) = beside(path).map_err(failed)?;
        let written = write_and_sync(file, |to| self.write(training, to)).and_then(|()| fs::rename(&temporary, path));
        written.map_err(|error| {
            fs::remove_file(&temporary).ok();
            failed(error)
        })
    }

    /// What [`Instance::save`] puts into a file. The same values give the same bytes.
    ///
    /// # Errors
    /// When `to` refuses.
    pub fn write(&self, training: bool, to: &mut dyn Write) -> io::Result<()> {
        let d = self.description();
        let mut saved: Vec<(String, Vec<u64>, &[f32])> = Vec::new();
        for (at, tensor) in
            d.tensors.iter().enumerate().filter(|(_, tensor)| training || tensor.keeping != Keeping::Moment)
        {
            if let Some(values) = self.tensor(at) {
                saved.push((tensor.path.clone(), tensor.shape.clone(), values));
            }
        }
        sort_by(&mut saved, |a, b| a.0.cmp(&b.0));
        if training && self.carry {
            let states = self.states.iter().enumerate().filter_map(|(at, state)| Some((state, at, self.state(at)?)));
            let mut states: Vec<_> = states.collect();
            sort_by(&mut states, |a, b| a.0.name.cmp(&b.0.name));
            for (state, at, values) in states {
                let mut sizes = vec![0; d.symbols.len()];
                d.eval_symbols(self.kept[at].batch, |axis| self.limits.steps[axis] as u64, &mut sizes);
                let shape = state.shape.iter().map(|size| size.eval(&sizes)).collect();
                saved.push((format!("{CARRY}{}", state.name), shape, values));
            }
        }
        let mut metadata = vec![("format", "1".to_owned()), ("network", d.name.clone())];
        metadata.push(("seed", self.limits.seed.to_string()));
        if training {
            metadata.push(("step", self.step.to_string()));
        }
        let mut header = header(&saved, &metadata);
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(header.as_bytes())?;
        saved.iter().try_for_each(|(_, _, values)| write_floats(values, to))
    }
}

/// The header, its members sorted by name.
fn header(saved: &[(String, Vec<u64>, &[f32])], metadata: &[(&str, String)]) -> String {
    let mut members = vec![("__metadata__".to_owned(), {
        let mut text = String::from("{");
        for (at, (key, value)) in metadata.iter().enumerate() {
            text.push_str(if at > 0 { "," } else { "" });
            put_string(key, &mut text);
            text.push(':');
            put_string(value, &mut text);
        }
        text + "}"
    })];
    let mut end = 0;
    for (name, shape, values) in saved {
        let start = end;
        end += size_of_val(*values);
        let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
        let shape = shape.join(",");
        members.push((
            name.clone(),
            format!("{{\"data_offsets\":[{start},{end}],\"dtype\":\"F32\",\"shape\":[{shape}]}}"),
        ));
    }
    sort_by(&mut members, Ord::cmp);
    let mut text = String::from("{");
    for (at, (name, member)) in members.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        put_string(name, &mut text);
        text.push(':');
        text.push_str(member);
    }
    text + "}"
}

fn check(name: &str, tensor: &Entry, shape: &[u64]) -> Result<(), Error> {
    let (dtype, found) = (&tensor.dtype, &tensor.shape);
    ensure!(dtype == "F32", InvalidWeights, "`{name}` is {dtype}, not F32");
    let fits = found == shape;
    ensure!(fits, InvalidWeights, "`{name}` has shape {shape:?} in the network, {found:?} in the weights");
    Ok(())
}

/// Reads straight into place.
fn read_floats(source: &mut impl Read, values: &mut [f32]) -> io::Result<()> {
    // SAFETY: any bytes are floats, and floats are bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), size_of_val(values)) };
    source.read_exact(bytes)?;
    if cfg!(target_endian = "big") {
        values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
    }
    Ok(())
}

pub(super) fn write_floats(values: &[f32], to: &mut dyn Write) -> io::Result<()> {
    if cfg!(target_endian = "big") {
        return values.iter().try_for_each(|value| to.write_all(&value.to_le_bytes()));
    }
    // SAFETY: floats are bytes.
    to.write_all(unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) })
}

/// A new file beside another, under a name that nobody has.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no name"))?;
    let mut number = 0;
    loop {
        let mut other = name.to_owned();
        other.push(format!(".{}-{number}.tmp", std::process::id()));
        let other = path.with_file_name(other);
        match File::create_new(&other) {
            Ok(file) => return Ok((other, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn write_and_sync(file: File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
