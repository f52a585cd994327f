(** Equations (2)–(4), (12), (13): attention, and that it is the estimator of §4.1.

        softmax(Q Kᵀ/√p) V = D⁻¹ M V,
        M_ij = κ(q_i, k_j) = exp(⟨q_i, k_j⟩/√p),   D_ii = Σ_j M_ij *)

From Inducer Require Export Estimator.

(** ⟨q, k⟩/√p and the paper's kernel κ(q, k) = exp(⟨q, k⟩/√p).  In theorems about every positive
    kernel, κ is any such function; [κ_exp p] is this one. *)
Definition score (p : nat) (q k : Vec) : R := dot p q k / sqrt (INR p).
Definition κ_exp (p : nat) : Kernel := fun q k => exp (score p q k).

Lemma κ_exp_positive p : positive (κ_exp p).
Proof. intros q k. apply exp_pos. Qed.
#[global] Hint Resolve κ_exp_positive : core.

(** softmax of the scores t over S, its entry at s. *)
Definition softmax {A : Type} (S : list A) (t : A -> R) (s : A) : R :=
  exp (t s) / Σ x ∈ S, exp (t x).

(** softmax(q Kᵀ/√p) V, K and V being the keys and coefficients of S. *)
Definition attention (p : nat) (q : Vec) (S : list Point) : Vec :=
  fun a => Σ s ∈ S, softmax S (fun x => score p q (key x)) s * coefficient s a.

(** The support points that a query sees: V(i) lists their numbers. *)
Definition points (K V : nat -> Vec) (visible : list nat) : list Point :=
  map (fun j => (K j, V j)) visible.

Lemma sqrt_pos_nat p : (0 < p)%nat -> 0 < sqrt (INR p).
Proof. intros Hp. apply sqrt_lt_R0, lt_0_INR, Hp. Qed.

(** Eq. 2.  A head's queries are a block of columns: coordinate h p + a of x W^q + b^q is
    coordinate a of x W^{q(h)} + b^{q(h)}. *)
Theorem eq02_column_blocks d p h (x : Vec) (W : Mat) (b : Vec) a :
  (mul d x W ⊕ b) (h * p + a)%nat =
  (mul d x (fun i c => W i (h * p + c)%nat) ⊕ (fun c => b (h * p + c)%nat)) a.
Proof. reflexivity. Qed.

(** §4.1.  Attention is the Nadaraya–Watson estimator of its row, with kernel
    κ(q, k) = exp(⟨q, k⟩/√p). *)
Theorem nw_attention p q S : attention p q S = NW (κ_exp p) q S.
Proof.
  coordinates. unfold attention, NW, mass, softmax. rewrite <- sum_div.
  apply sum_ext. intros. unfold κ_exp, Rdiv. ring.
Qed.

(** Eq. 3.  softmax(Q Kᵀ/√p) V = D⁻¹ M V with D the row sums of M, for n queries and m keys. *)
Theorem eq03_row_normalised p m (Q K V : nat -> Vec) i a :
  let M := fun i j => κ_exp p (Q i) (K j) in
  let D := fun i => Σ j < m, M i j in
  attention p (Q i) (points K V (seq 0 m)) a = / D i * Σ j < m, M i j * V j a.
Proof.
  simpl. rewrite nw_attention. unfold NW, mass, points. rewrite !sum_map.
  unfold key, coefficient. simpl. apply Rmult_comm.
Qed.

(** Eqs. 12, 13.  For any kernel the row-normalised empirical kernel matrix times the coefficients,
    D⁻¹ κ(Q, K) C, is the estimator. *)
Theorem eq12_eq13_kernel_matrix (κ : Kernel) m (Q K C : nat -> Vec) i a :
  / (Σ j < m, κ (Q i) (K j)) * (Σ j < m, κ (Q i) (K j) * C j a) =
  NW κ (Q i) (points K C (seq 0 m)) a.
Proof.
  unfold NW, mass, points. rewrite !sum_map. unfold key, coefficient. simpl. apply Rmult_comm.
Qed.

(** Eq. 3.  Scores are divided by √p: that is the unscaled product with queries q/√p. *)
Theorem eq03_scale p q k : score p q k = dot p (/ sqrt (INR p) ⊙ q) k.
Proof. rewrite dot_scale. apply Rmult_comm. Qed.

(** Eq. 3.  A constant added to all scores of a row changes nothing, however large. *)
Theorem eq03_shift {A : Type} (S : list A) (t : A -> R) c s :
  softmax S (fun x => t x + c) s = softmax S t s.
Proof.
  unfold softmax.
  rewrite (sum_ext S _ (fun x => exp (t x) * exp c)) by (intros; apply exp_plus).
  rewrite sum_scale_r, exp_plus. unfold Rdiv. rewrite Rinv_mult.
  transitivity (exp (t s) * / (Σ x ∈ S, exp (t x)) * (exp c * / exp c)); [ring|].
  rewrite Rinv_r by (apply Rgt_not_eq, exp_pos). ring.
Qed.

(** Eq. 4.  Concatenated heads times W^o are a sum over row blocks:
    [head_1, …, head_H] W^o + b^o = Σ_h head_h W^{o(h)} + b^o. *)
Theorem eq04_row_blocks H p (head : nat -> Vec) (Wo : Mat) (bo : Vec) :
  mul (H * p) (concat_heads p head) Wo ⊕ bo =
  (∑ h < H, mul p (head h) (row_block p h Wo)) ⊕ bo.
Proof.
  coordinates. f_equal. unfold mul at 1. rewrite sum_blocks. apply sum_ext. intros h _.
  apply sum_below_ext. intros a Ha. rewrite concat_heads_place by exact Ha. reflexivity.
Qed.

(** * What fails *)

(** False: √p may be dropped. *)
Theorem refuted_without_sqrt_p :
  ~ forall p q S, (0 < p)%nat -> S <> [] ->
    attention p q S = NW (fun q k => exp (dot p q k)) q S.
Proof.
  intros H. specialize (H 4%nat (all 1) [(zero, zero); (all 1, all 1)] ltac:(lia)
    ltac:(discriminate)).
  rewrite nw_attention in H. apply (f_equal (fun x => x 0%nat)) in H. revert H.
  unfold NW, mass, κ_exp, score, dot, all, zero, key, coefficient. simpl.
  replace (1 + 1 + 1 + 1) with (2 * 2) by ring. rewrite sqrt_square by lra.
  rewrite !Rmult_0_r, !Rmult_1_r, !Rplus_0_r, !Rplus_0_l.
  replace (0 / 2) with 0 by field. rewrite exp_0.
  replace ((1 + (1 + (1 + 1))) / 2) with 2 by field.
  intros H. pose proof (exp_pos 2). pose proof (exp_pos 4).
  assert (Hlt : exp 2 < exp 4) by (apply exp_increasing; lra).
  replace (1 + (1 + (1 + 1))) with 4 in H by ring.
  apply (f_equal (fun x => x * (1 + exp 2) * (1 + exp 4))) in H.
  field_simplify in H; lra.
Qed.

(** False: columns of M may be normalised instead of rows. *)
Theorem refuted_normalising_columns :
  ~ forall p n (Q K V : nat -> Vec) i a,
    attention p (Q i) (points K V (seq 0 n)) a =
    Σ j < n, κ_exp p (Q i) (K j) / (Σ i' < n, κ_exp p (Q i') (K j)) * V j a.
Proof.
  intros H.
  specialize (H 1%nat 2%nat (fun i => all (INR i)) (fun _ => all 1) (fun _ => all 1) 0%nat 0%nat).
  rewrite nw_attention in H. revert H.
  unfold NW, mass, points, κ_exp, score, dot, all, key, coefficient. simpl.
  unfold Rdiv. rewrite sqrt_1, Rinv_1, !Rmult_1_r, !Rplus_0_r.
  rewrite exp_0. intros H. pose proof one_lt_e.
  apply (f_equal (fun x => x * (1 + exp 1))) in H. field_simplify in H; lra.
Qed.

(** False: a constant may be added to one column. *)
Theorem refuted_shifting_one_column :
  ~ forall (t : nat -> R) c,
    softmax (seq 0 2) (fun j => if Nat.eqb j 0 then t j + c else t j) 0%nat =
    softmax (seq 0 2) t 0%nat.
Proof.
  intros H. specialize (H (fun _ => 0) 1). revert H. unfold softmax. simpl.
  rewrite !Rplus_0_r, Rplus_0_l, exp_0. intros H.
  pose proof one_lt_e. apply cross_multiply in H; lra.
Qed.

(** False: the row blocks may be transposed. *)
Theorem refuted_transposed_blocks :
  ~ forall H p (head : nat -> Vec) (Wo : Mat),
    mul (H * p) (concat_heads p head) Wo =
    ∑ h < H, mul p (head h) (fun a c => row_block p h Wo c a).
Proof.
  intros H.
  specialize (H 1%nat 2%nat (fun _ a => match a with O => 1 | _ => 0 end)
    (fun a c => match a, c with O, S O => 1 | _, _ => 0 end)).
  apply (f_equal (fun x => x 1%nat)) in H. revert H.
  unfold mul, concat_heads, row_block, sum_vec. simpl. lra.
Qed.
