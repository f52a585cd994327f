(** (IA)³ (Liu et al. 2022), which is not the paper's: learned vectors l that rescale keys, values
    and the FFN's hidden units, l ⊙ x coordinate by coordinate; and rsLoRA's factor. *)

From Inducer Require Export Lora.

(** l ⊙ x, and the matrices W diag(l) and diag(l) W. *)
Definition rescale (l x : Vec) : Vec := fun a => l a * x a.
Definition scale_columns (l : Vec) (W : Mat) : Mat := fun i j => W i j * l j.
Definition scale_rows (l : Vec) (W : Mat) : Mat := fun i j => l i * W i j.

(** Liu et al. 2022, §3.3.  Merged into a projection: l ⊙ (x W + b) = x (W diag l) + l ⊙ b. *)
Theorem ia3_merge d l W b x :
  rescale l (mul d x W ⊕ b) = mul d x (scale_columns l W) ⊕ rescale l b.
Proof.
  unfold rescale, mul, scale_columns. coordinates.
  rewrite (sum_ext _ (fun a => x a * (W a c * l c)) (fun a => l c * (x a * W a c)))
    by (intros; ring).
  rewrite sum_scale. ring.
Qed.

(** Liu et al. 2022, §3.3.  Vectors of ones change nothing: at its start the model is the frozen
    one. *)
Theorem ia3_identity x : rescale (fun _ => 1) x = x.
Proof. unfold rescale. coordinates. ring. Qed.

(** Liu et al. 2022, §3.3.  l_ff stands before W_2 and merges into its rows:
    (l_ff ⊙ h) W_2 = h (diag(l_ff) W_2). *)
Theorem ia3_before_the_second_map d l h W :
  mul d (rescale l h) W = mul d h (scale_rows l W).
Proof.
  unfold rescale, mul, scale_rows. coordinates. apply sum_ext. intros. ring.
Qed.

(** Liu et al. 2022, §3.3.  A scale of the queries is one of the keys:
    ⟨a ⊙ q, b ⊙ k⟩ = ⟨q, (a ⊙ b) ⊙ k⟩. *)
Theorem ia3_folded_keys p a b q k :
  dot p (rescale a q) (rescale b k) = dot p q (rescale (rescale a b) k).
Proof. unfold dot, rescale. apply sum_ext. intros. ring. Qed.

(** Liu et al. 2022, §3.3.  A scale of the heads before W^o is one of the values, whatever the
    weights w: a ⊙ Σ_j w_j (b ⊙ v_j) = Σ_j w_j ((a ⊙ b) ⊙ v_j). *)
Theorem ia3_folded_values m a b (w : nat -> R) (v : nat -> Vec) :
  rescale a (∑ j < m, w j ⊙ rescale b (v j)) = ∑ j < m, w j ⊙ rescale (rescale a b) (v j).
Proof.
  unfold rescale. coordinates. rewrite <- sum_scale. apply sum_ext. intros. ring.
Qed.

(** Kalajdzievski 2023.  rsLoRA's factor α/√r is LoRA's with α √r in the place of α:
    α/√r = (α √r)/r. *)
Theorem rslora_scale α r : 0 < r -> α / sqrt r = α * sqrt r / r.
Proof.
  intros Hr. pose proof (sqrt_lt_R0 _ Hr) as Hs.
  rewrite <- (sqrt_sqrt r) at 3 by lra. field. lra.
Qed.

(** * What fails *)

(** False: a merge that leaves the bias as it was. *)
Theorem refuted_merge_without_the_bias :
  ~ forall d l W b x, rescale l (mul d x W ⊕ b) = mul d x (scale_columns l W) ⊕ b.
Proof.
  intros E. specialize (E 0%nat (fun _ => 2) (fun _ _ => 0) (fun _ => 1) zero).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold rescale, mul, add. simpl. lra.
Qed.

(** False: l_ff after W_2 in the place of before it. *)
Theorem refuted_after_the_second_map :
  ~ forall d l h W, rescale l (mul d h W) = mul d h (scale_rows l W).
Proof.
  intros E. specialize (E 2%nat (fun a => INR a) (fun _ => 1) (fun _ _ => 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold rescale, mul, scale_rows. simpl. lra.
Qed.

(** False: factors of queries and keys that add up. *)
Theorem refuted_factors_add_up :
  ~ forall p a b q k, dot p (rescale a q) (rescale b k) = dot p q (rescale (a ⊕ b) k).
Proof.
  intros E. specialize (E 1%nat (fun _ => 1) (fun _ => 1) (fun _ => 1) (fun _ => 1)).
  revert E. unfold dot, rescale, add. simpl. lra.
Qed.

(** False: rsLoRA with α is LoRA with α. *)
Theorem refuted_rslora_is_lora : ~ forall α r, 0 < r -> α / sqrt r = α / r.
Proof.
  intros E. assert (H : 0 < 4) by lra. specialize (E 1 4 H). revert E.
  replace 4 with (2 * 2) by lra. rewrite sqrt_square by lra. lra.
Qed.
