(** Tables 1, 3 and 5: the numbers of trainable parameters, from the shapes of the tensors.

    GPT-2 small and RoBERTa base: L = 12 layers, H = 12 heads, p = 64, d = H p = 768. *)

From Coq Require Import ZArith.
Open Scope Z_scope.

Definition L := 12. Definition H := 12. Definition p := 64. Definition d := 768.

(** Parameters of one layer (§3, (1), (10), (11)). *)
Definition mlp_k (r : Z) := H * (p * r + r + r * p + p).
Definition mlp_v_extended (r : Z) := H * (p * r + r + r * d) + d.
Definition mlp_v (r : Z) := H * (p * r + r + r * p + p).
Definition lora (r : Z) := 2 * d * r + d.
Definition lora_without_bias (r : Z) := 2 * d * r.
Definition adapter (r : Z) := 2 * d * r + r + d.
Definition layer_norm := 2 * d.
Definition prefix (l : Z) := 2 * l * d.

(** Table 1.  Fine-tuning: GPT-2 small has 124,439,808 parameters, the tied head counted once. *)
Theorem counts_fine_tuning :
  50257 * d + 1024 * d
  + L * (layer_norm + (3 * d * d + 3 * d) + (d * d + d)
         + layer_norm + (4 * d * d + 4 * d) + (4 * d * d + d))
  + layer_norm = 124439808.
Proof. reflexivity. Qed.

(** Table 1.  Adapter-108, its LayerNorm counted. *)
Theorem counts_adapter_108 : L * (adapter 108 + layer_norm) = 2019600.
Proof. reflexivity. Qed.

(** Table 1.  LoRA-54 on W^q and W^v, biases counted. *)
Theorem counts_lora_54 : L * (2 * lora 54) = 2009088.
Proof. reflexivity. Qed.

(** Table 1.  Prefix-tuning-108 as stored. *)
Theorem counts_prefix_108 : L * prefix 108 = 1990656.
Proof. reflexivity. Qed.

(** Table 1.  Prefix-tuning-108 as trained, through Linear(d→512), tanh, Linear(512→2 L d). *)
Theorem counts_prefix_108_train :
  108 * d + (d * 512 + 512) + (512 * (2 * L * d) + 2 * L * d) = 9932288.
Proof. reflexivity. Qed.

(** Table 1.  MAM adapter: prefix of length 6, FFN adapter of 102 without LayerNorm. *)
Theorem counts_mam_adapter : L * (prefix 6 + adapter 102) = 2001096.
Proof. reflexivity. Qed.

(** Table 5.  Adaptive, r_v = 108. *)
Theorem counts_adaptive : L * mlp_v 108 = 2015424.
Proof. reflexivity. Qed.

(** Table 5.  Extension, r_v = 16. *)
Theorem counts_extension : L * mlp_v_extended 16 = 1928448.
Proof. reflexivity. Qed.

(** Table 5.  Gating, r_k = 10, r_v = 15. *)
Theorem counts_gating : L * (mlp_k 10 + mlp_v_extended 15) = 2003472.
Proof. reflexivity. Qed.

(** Table 5.  Inducer-tuning, r_k = 10, r_v = 15. *)
Theorem counts_inducer : L * (mlp_k 10 + mlp_v_extended 15) = 2003472.
Proof. reflexivity. Qed.

(** Table 5.  Inducer + LoRA, r_k = 5, r_v = 12, LoRA 24. *)
Theorem counts_inducer_lora : L * (mlp_k 5 + mlp_v_extended 12 + lora 24) = 2002320.
Proof. reflexivity. Qed.

(** Table 5.  MAM inducer, r_k = 3, r_v = 7, LoRA 16, FFN 42. *)
Theorem counts_mam_inducer :
  L * (mlp_k 3 + mlp_v_extended 7 + lora 16 + adapter 42) = 2001816.
Proof. reflexivity. Qed.

(** Table 3.  Inducer-tuning on RoBERTa, r_k = 6, r_v = 4. *)
Theorem counts_nlu_inducer : L * (mlp_k 6 + mlp_v_extended 4) = 609696.
Proof. reflexivity. Qed.

(** Table 3.  Inducer + LoRA on RoBERTa, r_k = 2, r_v = 4, LoRA 4 without bias. *)
Theorem counts_nlu_inducer_lora :
  L * (mlp_k 2 + mlp_v_extended 4 + lora_without_bias 4) = 609120.
Proof. reflexivity. Qed.

(** Table 3.  MAM inducer on RoBERTa, r_k = 2, r_v = 2, LoRA 4 without bias, FFN 12. *)
Theorem counts_nlu_mam_inducer :
  L * (mlp_k 2 + mlp_v_extended 2 + lora_without_bias 4 + adapter 12) = 599760.
Proof. reflexivity. Qed.

(** Table 3.  BitFit: every bias of RoBERTa's encoder, that of the embeddings' LayerNorm, and in
    each layer q, k, v, o, two LayerNorms, and the FFN's 4 d and d. *)
Theorem counts_nlu_bitfit : d + L * (7 * d + 4 * d) = 102144.
Proof. reflexivity. Qed.

(** §4.2.  The residual form removes the reparametrisation: a prefix behind its network trains more
    than it stores, so the two counts of Table 1 differ.  Inducers have one count. *)
Theorem prefix_trains_more_than_it_stores :
  L * prefix 108 <
  108 * d + (d * 512 + 512) + (512 * (2 * L * d) + 2 * L * d).
Proof. reflexivity. Qed.

(** Eq. 11.  r_k sizes MLP_k and r_v sizes MLP_v: the two may not be exchanged, since a unit of
    MLP_k costs H (2 p + 1) and one of MLP_v H (p + 1 + d). *)
Theorem term_widths_count r_k r_v :
  mlp_k r_k + mlp_v_extended r_v - (mlp_k r_v + mlp_v_extended r_k) =
  H * (d - p) * (r_v - r_k).
Proof. unfold mlp_k, mlp_v_extended. ring. Qed.

(** Liu et al. 2022, §3.3.  (IA)³: a vector for keys, one for values, one for the FFN's hidden
    units. *)
Theorem counts_ia3 : L * (2 * d + 4 * d) = 55296.
Proof. reflexivity. Qed.

(** * What fails *)

(** False: r_k and r_v may be exchanged. *)
Theorem refuted_exchanged_widths :
  ~ forall r_k r_v, mlp_k r_k + mlp_v_extended r_v = mlp_k r_v + mlp_v_extended r_k.
Proof. intros E. specialize (E 0 1). discriminate E. Qed.

(** False: one b_2 for each head instead of one for all. *)
Theorem refuted_bias_of_each_head :
  L * (mlp_k 10 + mlp_v_extended 15 + (H - 1) * d) <> 2003472.
Proof. discriminate. Qed.
