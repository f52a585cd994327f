(** Where the authors' published code departs from the paper, each with the size of the difference.
    Two more stand beside their equations: [authors_shared_bias] in Extension.v and
    [authors_lora_bias] in Lora.v. *)

From Inducer Require Export Start.

(** λ whose denominator counts the padding's keys as well. *)
Definition λ_unmasked (κ : Kernel) (q Pk : Vec) (S padding : list Point) : R :=
  λ κ q Pk (S ++ padding).

(** Eq. 7.  The published RoBERTa code lets padding keys into λ's denominator: its λ is ours times
    (κ + Σ_visible)/(κ + Σ_visible + Σ_padding), which is below 1 and depends on the padding. *)
Theorem authors_padding κ q Pk S padding : positive κ -> S <> [] -> padding <> [] ->
  let factor := (κ q Pk + mass κ q S) / (κ q Pk + mass κ q S + mass κ q padding) in
  λ_unmasked κ q Pk S padding = λ κ q Pk S * factor /\ factor < 1.
Proof.
  intros Hκ HS HP factor. pose proof (mass_pos q Hκ HS). pose proof (mass_pos q Hκ HP).
  pose proof (Hκ q Pk). split.
  - unfold λ_unmasked, λ, factor. rewrite mass_app. field. lra.
  - unfold factor. apply Rmult_lt_reg_r with (κ q Pk + mass κ q S + mass κ q padding); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra.
Qed.

(** §6.2.  A term added to the attention probabilities instead of the output, as in the published
    code without value extension, reaches the output multiplied by V:
    (softmax + λ u) V = f + λ u V. *)
Theorem authors_without_extension p m (q : Vec) (K V : nat -> Vec) (l : R) (u : Vec) :
  (fun a => Σ j < m, (softmax (seq 0 m) (fun j => score p q (K j)) j + l * u j) * V j a) =
  attention p q (points K V (seq 0 m)) ⊕ l ⊙ mul m u V.
Proof.
  coordinates. unfold attention, points, mul. rewrite sum_map, <- sum_scale, <- sum_plus.
  apply sum_ext. intros j _. unfold softmax. rewrite sum_map. unfold key, coefficient. simpl. ring.
Qed.

(** Eqs. 1, 11.  The published code has tanh in MLP_k and MLP_v and ReLU in adapters: the other
    activation moves the output by (φ z − ψ z) W_2, z = x W_1 + b_1, for any two. *)
Theorem authors_activations d r (φ ψ : R -> R) W1 b1 W2 b2 x :
  bottleneck d r φ W1 b1 W2 b2 x ⊖ bottleneck d r ψ W1 b1 W2 b2 x =
  mul r (fun b => let z := mul d x W1 b + b1 b in φ z - ψ z) W2.
Proof.
  unfold bottleneck. coordinates. unfold mul at 1 3 5.
  rewrite (sum_ext _ (fun a => (_ - _) * W2 a c)
    (fun a => φ (mul d x W1 a + b1 a) * W2 a c + (-1) * (ψ (mul d x W1 a + b1 a) * W2 a c))) by
    (intros; simpl; ring).
  rewrite sum_plus, sum_scale. ring.
Qed.

(** * What fails *)

(** False: λ with the padding in its denominator is λ. *)
Theorem refuted_lambda_ignores_padding :
  ~ forall κ q Pk S padding, positive κ -> S <> [] -> padding <> [] ->
    λ_unmasked κ q Pk S padding = λ κ q Pk S.
Proof.
  intros E. specialize (E example_kernel zero zero [(zero, zero)] [(zero, zero)]
    example_kernel_positive ltac:(discriminate) ltac:(discriminate)). revert E.
  unfold λ_unmasked, λ, mass, example_kernel, zero, key. simpl. intros E.
  field_simplify in E. lra.
Qed.

(** False: a term added to the probabilities reaches the output as it is. *)
Theorem refuted_term_in_the_probabilities :
  ~ forall p m (q : Vec) (K V : nat -> Vec) (l : R) (u : Vec),
    (fun a => Σ j < m, (softmax (seq 0 m) (fun j => score p q (K j)) j + l * u j) * V j a) =
    attention p q (points K V (seq 0 m)) ⊕ l ⊙ u.
Proof.
  intros E. specialize (E 0%nat 0%nat zero (fun _ => zero) (fun _ => zero) 1 (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold attention, add, scale, all. simpl. lra.
Qed.

(** False: the activation does not matter. *)
Theorem refuted_any_activation :
  ~ forall d r (φ ψ : R -> R) W1 b1 W2 b2 x,
    bottleneck d r φ W1 b1 W2 b2 x = bottleneck d r ψ W1 b1 W2 b2 x.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun z => z) (fun _ => 0) (fun _ _ => 1) zero (fun _ _ => 1)
    zero (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold bottleneck, mul, add, zero, all. simpl. lra.
Qed.
