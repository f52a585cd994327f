//! Every form of each operation against the composed one.

mod attention;
#[cfg(emulated_kernels)]
mod card_attention;
#[cfg(emulated_kernels)]
mod card_inducer;
#[cfg(emulated_kernels)]
mod card_loss;
#[cfg(emulated_kernels)]
mod card_methods;
#[cfg(emulated_kernels)]
mod card_optimiser;
#[cfg(emulated_kernels)]
mod card_rows;
mod composed;
mod layers;

use super::attention::Heads;
use super::dropout::Dropout;

const HEADS: Heads = Heads { count: 3, width: 5 };
const DROP: Dropout = Dropout::new(0.3, 99);
