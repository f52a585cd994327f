(** §4.1: the kernel matrix of any points is positive semi-definite. exp is the limit of sums of
    powers, and each power of an inner product is a positive semi-definite kernel. *)

From Coquelicot Require Import Coquelicot.
From Inducer Require Export Attention.

(** Each power of the inner product is: ⟨x, y⟩^{n+1} is a sum over coordinates of ⟨x, y⟩^n. *)
Lemma dot_power_psd p n (S : list Vec) : forall c : Vec -> R,
  0 <= Σ x ∈ S, Σ y ∈ S, c x * c y * dot p x y ^ n.
Proof.
  induction n as [|n IH]; intros c.
  - replace (Σ x ∈ S, _) with ((Σ x ∈ S, c x) * (Σ x ∈ S, c x)); [apply Rle_0_sqr|].
    rewrite <- sum_scale_r. apply sum_ext. intros x _. rewrite <- sum_scale.
    apply sum_ext. intros. simpl. ring.
  - replace (Σ x ∈ S, _) with
      (Σ a < p, Σ x ∈ S, Σ y ∈ S, (c x * x a) * (c y * y a) * dot p x y ^ n).
    + apply sum_nonneg. intros a _. apply (IH (fun x => c x * x a)).
    + rewrite sum_swap. apply sum_ext. intros x _. rewrite sum_swap. apply sum_ext. intros y _.
      simpl. unfold dot at 2. rewrite <- sum_scale_r, <- sum_scale.
      apply sum_ext. intros. ring.
Qed.

(** Finite sums and limits may be exchanged. *)
Lemma is_lim_seq_sum {A : Type} (S : list A) (u : A -> nat -> R) (l : A -> R) :
  (forall s, is_lim_seq (u s) (l s)) -> is_lim_seq (fun n => Σ s ∈ S, u s n) (Σ s ∈ S, l s).
Proof.
  intros H. induction S as [|s S IH]; simpl; [apply is_lim_seq_const|].
  apply is_lim_seq_plus'; auto.
Qed.

(** §4.1.  The kernel matrix of any points is positive semi-definite:
    Σ_ij c_i c_j κ(x_i, x_j) ≥ 0. *)
Theorem kernel_psd p (S : list Vec) (c : Vec -> R) :
  0 <= Σ x ∈ S, Σ y ∈ S, c x * c y * κ_exp p x y.
Proof.
  set (r := / sqrt (INR p)).
  set (partial := fun x y n => sum_n (fun i => / INR (fact i) * (dot p x y * r) ^ i) n).
  assert (Hlim : forall x y, is_lim_seq (partial x y) (κ_exp p x y)).
  { intros x y. unfold partial, κ_exp, score, Rdiv. fold r.
    pose proof (is_exp_Reals (dot p x y * r)) as He. unfold is_pseries in He.
    apply is_lim_seq_ext with
      (sum_n (fun i => scal (pow_n (dot p x y * r) i) (/ INR (fact i)))); [|exact He].
    intros n. apply sum_n_ext. intros i.
    rewrite pow_n_pow. unfold scal. simpl. unfold mult. simpl. ring. }
  apply (is_lim_seq_le (fun _ => 0)
    (fun n => Σ x ∈ S, Σ y ∈ S, c x * c y * partial x y n) 0
    (Σ x ∈ S, Σ y ∈ S, c x * c y * κ_exp p x y)).
  - intros n. unfold partial. induction n as [|n IH].
    + rewrite (sum_ext S _ (fun x => Σ y ∈ S, c x * c y * dot p x y ^ 0)); [apply dot_power_psd|].
      intros x _. apply sum_ext. intros y _. rewrite sum_O. simpl. field.
    + replace (Σ x ∈ S, _) with
        ((Σ x ∈ S, Σ y ∈ S, c x * c y * sum_n (fun i => / INR (fact i) * (dot p x y * r) ^ i) n)
         + / INR (fact (Datatypes.S n)) * r ^ Datatypes.S n
           * Σ x ∈ S, Σ y ∈ S, c x * c y * dot p x y ^ Datatypes.S n).
      * apply Rplus_le_le_0_compat; [exact IH|].
        apply Rmult_le_pos; [apply Rmult_le_pos | apply dot_power_psd].
        -- left. apply Rinv_0_lt_compat, INR_fact_lt_0.
        -- apply pow_le. unfold r. destruct p; [simpl; rewrite sqrt_0, Rinv_0; lra|].
           left. apply Rinv_0_lt_compat, sqrt_pos_nat. lia.
      * rewrite <- sum_scale, <- sum_plus. apply sum_ext. intros x _.
        rewrite <- sum_scale, <- sum_plus. apply sum_ext. intros y _.
        rewrite sum_Sn. unfold plus. simpl plus. rewrite Rpow_mult_distr. simpl. ring.
  - apply is_lim_seq_const.
  - apply is_lim_seq_sum. intros x. apply is_lim_seq_sum. intros y.
    apply is_lim_seq_mult'; [apply is_lim_seq_const | apply Hlim].
Qed.

(** * What fails *)

(** False: a kernel that grows with the distance, exp(+‖x − y‖²/2√p), is positive
    semi-definite. *)
Theorem refuted_growing_kernel_psd :
  ~ forall p (S : list Vec) (c : Vec -> R),
    0 <= Σ x ∈ S, Σ y ∈ S, c x * c y * exp (norm2 p (x ⊖ y) / (2 * sqrt (INR p))).
Proof.
  intros H. specialize (H 1%nat [all 0; all 1] (fun x => 1 - 2 * x 0%nat)). revert H.
  unfold norm2, dot, sub, all. simpl. rewrite sqrt_1.
  replace (((0 - 0) * (0 - 0) + 0) / (2 * 1)) with 0 by field.
  replace (((0 - 1) * (0 - 1) + 0) / (2 * 1)) with (/ 2) by field.
  replace (((1 - 0) * (1 - 0) + 0) / (2 * 1)) with (/ 2) by field.
  replace (((1 - 1) * (1 - 1) + 0) / (2 * 1)) with 0 by field.
  rewrite exp_0. assert (1 < exp (/ 2)) by (rewrite <- exp_0 at 1; apply exp_increasing; lra). lra.
Qed.
