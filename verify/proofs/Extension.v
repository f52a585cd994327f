(** Equations (9) and (11): values inside W^o, and the whole update of a layer as one product.

        f^(h)(q) = softmax(q K^(h)ᵀ/√p) V^(h) W^{o(h)}
        output = Σ_h [f^(h)(q^(h)) + λ^(h) MLP_v^(h)(q^(h))] + b^o
        MLP_v^(h)(q) = tanh(q W_1^(h) + b_1^(h)) W_2^(h), and b_2 once for all heads

    H heads of dimension p; h numbers the heads; q h, S h are query and visible points of head h. *)

From Inducer Require Export Inducer.

(** Support points whose values are moved inside W^o: rows of V^(h) W^{o(h)}. *)
Definition extended (p h : nat) (Wo : Mat) (S : list Point) : list Point :=
  map (fun s => (key s, mul p (coefficient s) (row_block p h Wo))) S.

Lemma mass_extended κ q p h Wo S : mass κ q (extended p h Wo S) = mass κ q S.
Proof. unfold mass, extended. rewrite sum_map. reflexivity. Qed.

Lemma λ_extended κ q Pk p h Wo S : λ κ q Pk (extended p h Wo S) = λ κ q Pk S.
Proof. unfold λ. rewrite mass_extended. reflexivity. Qed.

Lemma extended_nonempty p h Wo S : S <> [] -> extended p h Wo S <> [].
Proof. destruct S; [congruence | discriminate]. Qed.

(** For one head: the estimator over extended values is f^(h) W^{o(h)}. *)
Lemma nw_extended κ q p h Wo S : positive κ -> S <> [] ->
  NW κ q (extended p h Wo S) = mul p (NW κ q S) (row_block p h Wo).
Proof.
  intros Hκ HS. pose proof (nw_affine q p (row_block p h Wo) zero Hκ HS) as H.
  unfold extended.
  replace (map _ S) with
    (map (fun s => (key s, mul p (coefficient s) (row_block p h Wo) ⊕ zero)) S).
  - rewrite H. coordinates. ring.
  - apply map_ext. intros s. f_equal. coordinates. ring.
Qed.

Lemma sum_vec_ext n (x y : nat -> Vec) :
  (forall h, (h < n)%nat -> x h = y h) -> (∑ h < n, x h) = ∑ h < n, y h.
Proof. intros E. coordinates. apply sum_below_ext. intros h Hh. rewrite E; auto. Qed.

Section Heads.
Variables (H p : nat) (Wo : Mat) (bo : Vec).
Variables (κ : Kernel) (q : nat -> Vec) (S : nat -> list Point).
(** Throughout, let κ be positive and let every head's query see a key. *)
Hypotheses (Hκ : positive κ) (HS : forall h, S h <> []).

(** f^(h) W^{o(h)} of one head. *)
Definition extended_f (h : nat) : Vec := mul p (NW κ (q h) (S h)) (row_block p h Wo).

(** Eq. 9.  Values moved inside W^o give the same sub-layer output:
    Σ_h NW(q; K^(h), V^(h) W^{o(h)}) + b^o = [NW(q; K^(h), V^(h))]_h W^o + b^o. *)
Theorem eq09_extended :
  (∑ h < H, NW κ (q h) (extended p h Wo (S h))) ⊕ bo =
  mul (H * p) (concat_heads p (fun h => NW κ (q h) (S h))) Wo ⊕ bo.
Proof.
  rewrite eq04_row_blocks. f_equal. apply sum_vec_ext. intros h _.
  apply nw_extended; auto.
Qed.

(** Eq. 9.  With inducer values aligned with those rows, P_v = f^(h) + MLP_v^(h)(q), the sub-layer
    output is Σ_h [f^(h) + λ^(h) MLP_v^(h)(q^(h))] + b^o. *)
Theorem eq09_output (MLP_k MLP_v : nat -> Vec -> Vec) :
  (∑ h < H, augmented (MLP_k h) (MLP_v h) κ (q h) (extended p h Wo (S h))) ⊕ bo =
  (∑ h < H, (extended_f h
     ⊕ λ κ (q h) (inducer_key (MLP_k h) (q h)) (S h) ⊙ MLP_v h (q h))) ⊕ bo.
Proof.
  f_equal. apply sum_vec_ext. intros h _.
  destruct (eq07_eq08 (MLP_k h) (MLP_v h) (q h) Hκ (extended_nonempty p h Wo (@HS h))) as [_ E].
  rewrite E. unfold residual. rewrite λ_extended, nw_extended by auto. reflexivity.
Qed.

(** Rows of the matrices W_2^(h) ∈ R^{r×d} one below the other. *)
Definition stack (r : nat) (W2 : nat -> Mat) : Mat := fun b => W2 (b / r)%nat (b mod r)%nat.

Lemma row_block_stack r W2 h b c : (b < r)%nat -> row_block r h (stack r W2) b c = W2 h b c.
Proof.
  intros Hb. unfold row_block, stack.
  rewrite Nat.div_add_l, Nat.div_small, Nat.add_0_r by lia.
  rewrite Nat.add_comm, Nat.mod_add, Nat.mod_small by lia. reflexivity.
Qed.

(** Eq. 11.  The extended update of a layer is one product of the λ-scaled hidden units:
    Σ_h λ^(h) u^(h) W_2^(h) + b_2 = [λ^(h) u^(h)]_h [W_2^(h)]_h + b_2, an (H r)→d product. *)
Theorem eq11_single_product r (l : nat -> R) (u : nat -> Vec) (W2 : nat -> Mat) (b2 : Vec) :
  (∑ h < H, l h ⊙ mul r (u h) (W2 h)) ⊕ b2 =
  mul (H * r) (concat_heads r (fun h => l h ⊙ u h)) (stack r W2) ⊕ b2.
Proof.
  rewrite eq04_row_blocks. f_equal. apply sum_vec_ext. intros h _.
  rewrite <- mul_scale. coordinates. unfold mul. apply sum_below_ext. intros b Hb.
  rewrite row_block_stack by exact Hb. reflexivity.
Qed.

(** The output of a sub-layer under (9) and (11): heads, their updates u^(h) ∈ R^d weighted by
    λ^(h), the shared b_2 and b^o. *)
Definition output (l : nat -> R) (u : nat -> Vec) (b2 : Vec) : Vec :=
  (∑ h < H, (extended_f h ⊕ l h ⊙ u h)) ⊕ b2 ⊕ bo.

(** Eq. 11.  b_2 is shared by the heads and added once, unweighted by λ:
    output(b_2) = output(0) + b_2. *)
Theorem eq11_shared_bias l u b2 : output l u b2 = output l u zero ⊕ b2.
Proof. unfold output. coordinates. ring. Qed.

(** Eqs. 8, 11.  A departure of the published code from (8): were b_2 weighted by every head's λ, as
    by (8) alone, the output would differ by (Σ_h λ^(h) − 1) b_2. *)
Theorem authors_shared_bias l u b2 :
  output l (fun h => u h ⊕ b2) zero ⊖ output l u b2 = ((Σ h < H, l h) - 1) ⊙ b2.
Proof.
  unfold output. coordinates.
  rewrite (sum_ext _ _ (fun h => (extended_f h c + l h * u h c) + l h * b2 c)) by (intros; ring).
  rewrite sum_plus, sum_scale_r. ring.
Qed.

(** Eq. 9, §6.2.  Extension with W_2^(h) = U^(h) W^{o(h)} is Adaptive: the update of the values
    before W^o, with U^(h) ∈ R^{r×p}, is an update after it. *)
Theorem eq09_extension_contains_adaptive r (l : nat -> R) (u : nat -> Vec) (U : nat -> Mat) :
  mul (H * p) (concat_heads p (fun h => NW κ (q h) (S h) ⊕ l h ⊙ mul r (u h) (U h))) Wo ⊕ bo =
  output l
    (fun h => mul r (u h) (fun b c => Σ a < p, U h b a * row_block p h Wo a c)) zero.
Proof.
  rewrite eq04_row_blocks. unfold output.
  replace (∑ h < H, mul p (NW κ (q h) (S h) ⊕ _) (row_block p h Wo)) with
    (∑ h < H, (extended_f h
       ⊕ l h ⊙ mul r (u h) (fun b c => Σ a < p, U h b a * row_block p h Wo a c))).
  - coordinates. ring.
  - apply sum_vec_ext. intros h _. rewrite mul_add, mul_scale, mul_assoc. reflexivity.
Qed.
End Heads.

(** * What fails *)

(** One head of dimension 1 with f = 1 at one visible point. *)
Definition one_point : nat -> list Point := fun _ => [(zero, all 1)].

(** False: the row block of the next head may stand for a head's own. *)
Theorem refuted_row_block_of_the_next_head :
  ~ forall H p (head : nat -> Vec) (Wo : Mat),
    mul (H * p) (concat_heads p head) Wo = ∑ h < H, mul p (head h) (row_block p (1 + h) Wo).
Proof.
  intros E. specialize (E 1%nat 1%nat (fun _ => all 1) (fun a _ => INR a)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold mul, concat_heads, row_block, sum_vec, all. simpl. lra.
Qed.

(** False: one λ may multiply the whole product,
    Σ_h λ^(h) u^(h) W_2^(h) = λ^(0) Σ_h u^(h) W_2^(h). *)
Theorem refuted_one_lambda_after_the_product :
  ~ forall H r (l : nat -> R) (u : nat -> Vec) (W2 : nat -> Mat),
    (∑ h < H, l h ⊙ mul r (u h) (W2 h)) = l 0%nat ⊙ mul (H * r) (concat_heads r u) (stack r W2).
Proof.
  intros E. specialize (E 2%nat 1%nat INR (fun _ => all 1) (fun _ _ _ => 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold mul, concat_heads, stack, sum_vec, scale, all. simpl. lra.
Qed.

(** False: b_2 may be weighted by Σ_h λ^(h). *)
Theorem refuted_weighted_shared_bias :
  ~ forall H p Wo bo κ q S (l : nat -> R) (u : nat -> Vec) (b2 : Vec),
    output H p Wo bo κ q S l u b2 = output H p Wo bo κ q S l u zero ⊕ (Σ h < H, l h) ⊙ b2.
Proof.
  intros E. specialize (E 0%nat 0%nat (fun _ _ => 0) zero example_kernel (fun _ => zero) one_point
    (fun _ => 0) (fun _ => zero) (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold output, sum_vec, add, scale, zero, all. simpl. lra.
Qed.

(** False: Extension is Adaptive with W_2 = W^{o(h)} in place of U W^{o(h)}. *)
Theorem refuted_extension_with_bare_row_block :
  ~ forall H p Wo bo κ q S r (l : nat -> R) (u : nat -> Vec) (U : nat -> Mat),
    positive κ -> (forall h, S h <> []) ->
    mul (H * p) (concat_heads p (fun h => NW κ (q h) (S h) ⊕ l h ⊙ mul r (u h) (U h))) Wo ⊕ bo =
    output H p Wo bo κ q S l (fun h => mul r (u h) (row_block p h Wo)) zero.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun _ _ => 1) zero example_kernel (fun _ => zero) one_point
    1%nat (fun _ => 1) (fun _ => all 1) (fun _ _ _ => 2) example_kernel_positive
    ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold output, extended_f, mul, concat_heads, row_block, sum_vec, add, scale, zero, all. simpl.
  lra.
Qed.
