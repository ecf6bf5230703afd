//! The compressors and decompressors. They are large (a deflater takes a quarter of a megabyte),
//! and a frame needs one only while it is being coded, so connections borrow them from one shared
//! toolbox.

use flate2::{Compress, Compression, Decompress};
use zstd::zstd_safe::{CCtx, DCtx, DParameter, ResetDirective};

/// How many idle compressors, or decompressors, of a kind are kept.
const KEPT: usize = 4;

/// A zstd decompressor that has grown beyond this is not kept, nor a compressor beyond four times
/// this.
const LARGE: usize = 1 << 20;

/// No frame inflates to more than 2^24 bytes, so none needs a larger window, whatever it claims.
const WINDOW_LOG: u32 = 24;

/// Compressors and decompressors for all connections of a thread.
#[derive(Default)]
pub struct Toolbox {
    deflaters: Vec<(u8, Compress)>,
    inflaters: Vec<Decompress>,
    zstd: Option<CCtx<'static>>,
    unzstds: Vec<DCtx<'static>>,
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Toolbox")
    }
}

impl Toolbox {
    /// A deflater of this level, ready to begin.
    pub(super) fn deflater(&mut self, level: u8) -> Option<&mut Compress> {
        let at = match self.deflaters.iter().position(|(at, _)| *at == level) {
            Some(at) => {
                self.deflaters.get_mut(at)?.1.reset();
                at
            }
            None => {
                if self.deflaters.len() >= KEPT {
                    self.deflaters.remove(0);
                }
                let deflater = Compress::new(Compression::new(u32::from(level)), true);
                self.deflaters.push((level, deflater));
                self.deflaters.len() - 1
            }
        };
        self.deflaters.get_mut(at).map(|(_, deflater)| deflater)
    }

    /// A zstd compressor.
    pub(super) fn zstd(&mut self) -> Option<&mut CCtx<'static>> {
        if self.zstd.is_none() {
            self.zstd = CCtx::try_create();
        }
        self.zstd.as_mut()
    }

    /// Frees the zstd compressor if a high level has made it large.
    pub(super) fn trim(&mut self) {
        if self
            .zstd
            .as_ref()
            .is_some_and(|ctx| ctx.sizeof() > 4 * LARGE)
        {
            self.zstd = None;
        }
    }

    /// An inflater, ready to begin.
    pub(super) fn inflater(&mut self) -> Decompress {
        match self.inflaters.pop() {
            Some(mut inflater) => {
                inflater.reset(true);
                inflater
            }
            None => Decompress::new(true),
        }
    }

    /// A zstd decompressor, ready to begin.
    pub(super) fn unzstd(&mut self) -> Option<DCtx<'static>> {
        if let Some(mut ctx) = self.unzstds.pop()
            && ctx.reset(ResetDirective::SessionOnly).is_ok()
        {
            return Some(ctx);
        }
        let mut ctx = DCtx::try_create()?;
        ctx.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))
            .ok()?;
        Some(ctx)
    }

    /// Takes an inflater back.
    pub(super) fn return_inflater(&mut self, inflater: Decompress) {
        if self.inflaters.len() < KEPT {
            self.inflaters.push(inflater);
        }
    }

    /// Takes a zstd decompressor back.
    pub(super) fn return_unzstd(&mut self, ctx: DCtx<'static>) {
        if self.unzstds.len() < KEPT && ctx.sizeof() <= LARGE {
            self.unzstds.push(ctx);
        }
    }
}
