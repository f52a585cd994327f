//! The readable witness of "Inducer-tuning: Connecting Prefix-tuning and Adapter-tuning" (Chen et
//! al., EMNLP 2022).
//!
//! Every equation stands here once, in the order and with the symbols of the paper, in plain
//! `ndarray`, without regard for speed. An engine that trains is compared with it; it shares no
//! code with any engine, not even the reading of files.
//!
//! # The paper, in its order
//!
//! **Adapters (Eq. 1).** `h ← h + φ(h W_1 + b_1) W_2 + b_2`: [`adapter`].
//!
//! **Attention (Eqs. 2–4).** [`attention`] has the projections, the heads and the two forms of the
//! output, `[head_1 … head_H] W^o = Σ_h head_h W^{o(h)}`. Which keys a query sees is a [`visible`]
//! set.
//!
//! **Attention is a kernel estimator (§4.1, Appendix C, Eqs. 12, 13).**
//! `softmax(QKᵀ/√p) V = D⁻¹ M V` with the kernel `κ(q, k) = exp(⟨q, k⟩/√p)` of [`kernel`], which is
//! a Gaussian times a weight of each key. The estimator on *given* kernel values is in
//! [`nadaraya_watson`]; it asks for a [`Field`] only, so that its identities can be proven over a
//! prime field, for every kernel at once. [`smoothing`] has the kernels of the textbooks, on a
//! line.
//!
//! **Prefix-tuning is a gated mixture (§4.2).**
//! `f_prefix = (1 − μ) f + μ · (attention over the prefix)`: [`prefix`]. Why a prefix far from a
//! query cannot act on it: [`distance`].
//!
//! **Inducers (Eqs. 5–8).** One virtual token for each query, `P_k = q + MLP_k(q)` and
//! `P_v = f(q) + MLP_v(q)`; the estimator over n + 1 points collapses to `f + λ MLP_v(q)` with
//! `λ = σ(s − LSE)`: [`inducer`], its networks in [`bottleneck`].
//!
//! **Extended values (Eqs. 9, 11).** The inducer's value in R^d, after W^o: [`extended`].
//!
//! **LoRA on W^q (Eq. 10).** [`lora`].
//!
//! **(IA)³, which is not of the paper (Liu et al. 2022).** Learned scales of keys, values and the
//! FFN's hidden units: [`ia3`].
//!
//! **The ladder of variants (§6.2).** Adaptive, Extension, Gating, Inducer: [`variants`].
//!
//! # Whole models
//!
//! [`sub_layer`] puts a method's [`parts`] into an attention sub-layer; [`gpt2`] (pre-norm, causal)
//! and [`roberta`] (post-norm, classifier) are the backbones, with [`layer_norm`], [`gelu`] and
//! [`embedding`]; [`loss`] is the cross entropy. [`files`] reads backbones and adapters from their
//! directories.
//!
//! ```
//! use inducer_reference::{Gpt2, Gpt2Config, TensorMap};
//! use ndarray::{ArrayD, IxDyn};
//!
//! // A GPT-2 whose weights are all zero gives every token the same logit.
//! let config = Gpt2Config::new(5, 8, 4, 2, 2);
//! let zeros = |(name, shape): (String, Vec<usize>)| (name, ArrayD::zeros(IxDyn(&shape)));
//! let tensors: TensorMap<f64> = config.shapes().into_iter().map(zeros).collect();
//! let model = Gpt2::from_tensors(config, &tensors)?;
//! let output = model.forward(&[3, 1, 4], None, None, None)?;
//! assert_eq!(output.logits.dim(), (3, 5));
//! assert!(output.logits.iter().all(|&logit| logit == 0.0));
//! # Ok::<(), inducer_reference::Error>(())
//! ```
//!
//! # The scalars
//!
//! [`scalar`] has two traits and five numbers: `f32`, `f64`, double-double (31 digits), dual
//! numbers (exact derivatives), and the prime field of 2^61 − 1 (exact equality).
//!
//! # The kernel side
//!
//! Inducing variables come from kernel machines, and the paper's inducers are named after them:
//! [`spectrum`] (kernel matrices are positive semi-definite), [`nystrom`] (a subset of points
//! stands for all), [`sparse_gp`] (Snelson and Ghahramani's pseudo-inputs, Titsias' bound), over
//! LAPACK by [`positive_definite`].

pub mod adapter;
pub mod attention;
pub mod bottleneck;
pub mod distance;
pub mod dropout;
pub mod embedding;
pub mod error;
pub mod extended;
pub mod files;
pub mod gelu;
pub mod gpt2;
pub mod ia3;
pub mod inducer;
pub mod kernel;
pub mod layer_norm;
pub mod lora;
pub mod loss;
pub mod nadaraya_watson;
pub mod nystrom;
pub mod parts;
pub mod positive_definite;
pub mod prefix;
pub mod roberta;
pub mod scalar;
pub mod smoothing;
pub mod sparse_gp;
pub mod spectrum;
pub mod sub_layer;
pub mod variants;
pub mod visible;

pub use error::Error;
pub use files::adapter::Adapter;
pub use files::adapter_config::{
    AdapterConfig, AttentionConfig, FfnConfig, Ia3Config, Ia3Target, LoraConfig, Placement,
    Projection,
};
pub use files::layout::{Backbone, Layout, Shapes};
pub use files::tensors::TensorMap;
pub use gpt2::{Forward, Gpt2, Gpt2Config};
pub use loss::{cross_entropy, shift_labels};
pub use roberta::{Roberta, RobertaConfig};
pub use scalar::{DoubleDouble, Dual, Field, Prime, Real};
pub use variants::Variant;
