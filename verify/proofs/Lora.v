(** Equation (10), LoRA on the query's projection,

        q = x W^q + b^q + (α/r) (x Aᵀ Bᵀ + b_lora),   A ∈ R^{r×d}, B ∈ R^{d×r},

    and §4.5: what prefixes and inducers cannot do and it can.  They leave the scores of the text
    frozen, whatever they learn. *)

From Inducer Require Export Ladder.

Section Lora.
Variables (d r : nat) (α : R) (W A B : Mat) (b b_lora : Vec).

(** (10): the update and the projection with it. *)
Definition lora_update (x : Vec) : Vec :=
  (α / INR r) ⊙ (mul r (mul d x (transpose A)) (transpose B) ⊕ b_lora).
Definition lora_query (x : Vec) : Vec := mul d x W ⊕ b ⊕ lora_update x.

(** Eq. 10.  LoRA merged into the projection is the unmerged function, for every α, r and input:
    x (W + (α/r) AᵀBᵀ) + b + (α/r) b_lora = x W + b + (α/r) (x AᵀBᵀ + b_lora). *)
Theorem eq10_merge x :
  mul d x (add_mat W (scale_mat (α / INR r) (product r (transpose A) (transpose B))))
    ⊕ (b ⊕ (α / INR r) ⊙ b_lora) = lora_query x.
Proof.
  unfold lora_query, lora_update. rewrite mul_assoc. coordinates.
  unfold mul, add_mat, scale_mat, product.
  rewrite (sum_ext _ _ (fun i => x i * W i c
    + α / INR r * (x i * Σ b0 < r, transpose A i b0 * transpose B b0 c))) by (intros; ring).
  rewrite sum_plus, sum_scale. ring.
Qed.

(** Eq. 10.  LoRA with B = 0 and b_lora = 0 is the backbone: q = x W + b. *)
Theorem eq10_identity x : (forall i j, B i j = 0) -> b_lora = zero ->
  lora_query x = mul d x W ⊕ b.
Proof.
  intros HB Hb. unfold lora_query, lora_update. rewrite Hb. coordinates.
  unfold mul at 2. rewrite (sum_zero _ (fun a => _ * transpose B a c)); [ring|].
  intros a _. unfold transpose. rewrite HB. ring.
Qed.

(** Eq. 10.  LoRA's update has rank at most r: for every input it is a combination of the same r
    vectors, the columns of B. *)
Theorem eq10_rank x :
  mul d x (scale_mat (α / INR r) (product r (transpose A) (transpose B))) =
  ∑ j < r, (α / INR r * mul d x (transpose A) j) ⊙ transpose B j.
Proof.
  coordinates. transitivity (α / INR r * mul r (mul d x (transpose A)) (transpose B) c).
  - rewrite mul_assoc. unfold mul, scale_mat, product. rewrite <- sum_scale.
    apply sum_ext. intros. ring.
  - unfold mul at 1. rewrite <- sum_scale. apply sum_ext. intros. ring.
Qed.

(** Eq. 10.  A departure: the published code has b_lora in NLG and none in NLU.  With and without
    it the update differs by (α/r) b_lora, for every input. *)
Theorem authors_lora_bias x :
  lora_update x ⊖ (α / INR r) ⊙ mul r (mul d x (transpose A)) (transpose B) =
  (α / INR r) ⊙ b_lora.
Proof. unfold lora_update. coordinates. ring. Qed.

(** Eq. 10, §6.2.  Inducer + LoRA with a zero update is Inducer: each head sees its query as it
    was. *)
Theorem ladder_lora H p Wo bo κ (S : nat -> list Point) MLP_k u b2 x :
  (forall i j, B i j = 0) -> b_lora = zero ->
  let head (q : Vec) := fun h a => q (h * p + a)%nat in
  inducer H p Wo bo κ (head (lora_query x)) S MLP_k u b2 =
  inducer H p Wo bo κ (head (mul d x W ⊕ b)) S MLP_k u b2.
Proof. intros HB Hb head. rewrite eq10_identity by assumption. reflexivity. Qed.
End Lora.

(** * §4.5: frozen scores *)

(** The share of a support point in the estimate: softmax's entry. *)
Definition share (κ : Kernel) (q : Vec) (S : list Point) (s : Point) : R :=
  κ q (key s) / mass κ q S.

(** §4.5.  Points added to the text's, a prefix or an inducer, scale all shares of the text's points
    alike, by 1 − μ (by 1 − λ for an inducer). *)
Theorem frozen_scores κ q P S s : positive κ -> P <> [] -> S <> [] ->
  share κ q (P ++ S) s = (1 - μ κ q P S) * share κ q S s.
Proof.
  intros Hκ HP HS. pose proof (mass_pos q Hκ HP). pose proof (mass_pos q Hκ HS).
  unfold share, μ. rewrite mass_app. field. lra.
Qed.

(** §4.5.  So the ratio of two of the text's shares is the pre-trained one, whatever the prefix or
    the inducer: no training of them moves attention from one token of the text to another. *)
Theorem frozen_ratio κ q P S s s' : positive κ -> S <> [] ->
  share κ q (P ++ S) s / share κ q (P ++ S) s' = share κ q S s / share κ q S s'.
Proof.
  intros Hκ HS. pose proof (Hκ q (key s)). pose proof (Hκ q (key s')).
  pose proof (mass_pos q Hκ HS). pose proof (mass_nonneg q P Hκ). unfold share.
  rewrite mass_app. field. lra.
Qed.

(** §4.5.  Two tokens that the frozen model scores alike for a query stay alike under every prefix
    and every inducer. *)
Theorem frozen_ties κ q P S s s' :
  κ q (key s) = κ q (key s') -> share κ q (P ++ S) s = share κ q (P ++ S) s'.
Proof. intros E. unfold share. rewrite E. reflexivity. Qed.

(** Eq. 10, §4.5.  An update Δ of the query moves each score by that of Δ with the key, so the
    ratio of two shares becomes exp(⟨Δ, k − k'⟩/√p) times the pre-trained one: LoRA on W^q suffices
    to move attention between tokens. *)
Theorem lora_moves_the_ratio p q Δ S s s' : S <> [] ->
  share (κ_exp p) (q ⊕ Δ) S s / share (κ_exp p) (q ⊕ Δ) S s' =
  exp (score p Δ (key s ⊖ key s')) * (share (κ_exp p) q S s / share (κ_exp p) q S s').
Proof.
  intros HS. unfold share.
  assert (E : forall x k, κ_exp p x k <> 0) by (intros; apply Rgt_not_eq, exp_pos).
  assert (M : forall x, mass (κ_exp p) x S <> 0) by
    (intros; apply Rgt_not_eq, mass_pos; auto).
  assert (A : forall k, κ_exp p (q ⊕ Δ) k = exp (score p Δ k) * κ_exp p q k).
  { intros k. unfold κ_exp, score. rewrite dot_add, <- exp_plus. f_equal. unfold Rdiv. ring. }
  assert (D : exp (score p Δ (key s ⊖ key s')) =
              exp (score p Δ (key s)) / exp (score p Δ (key s'))).
  { unfold Rdiv. rewrite <- exp_Ropp, <- exp_plus. f_equal. unfold score.
    replace (dot p Δ (key s ⊖ key s')) with (dot p Δ (key s) - dot p Δ (key s'));
      [unfold Rdiv; ring|].
    unfold dot, sub. replace (_ - _) with
      ((Σ a < p, Δ a * key s a) + Σ a < p, (-1) * (Δ a * key s' a)) by (rewrite sum_scale; ring).
    rewrite <- sum_plus. apply sum_ext. intros. ring. }
  rewrite D, !A. field. repeat split; auto; apply Rgt_not_eq, exp_pos.
Qed.

(** Eqs. 3, 10.  A bias added to every key (LoRA's on W^k, or b^k itself) shifts all scores of a
    query alike and changes nothing. *)
Theorem key_bias_cancels p q b S :
  attention p q (map (fun s => (key s ⊕ b, coefficient s)) S) = attention p q S.
Proof.
  rewrite !nw_attention. unfold NW, mass. coordinates. rewrite !sum_map.
  change (NW (fun q k => κ_exp p q (k ⊕ b)) q S c = NW (κ_exp p) q S c).
  rewrite (@nw_query_factor (fun q k => κ_exp p q (k ⊕ b)) (κ_exp p) (exp (score p q b)) q S);
    [reflexivity | apply Rgt_not_eq, exp_pos |].
  intros s _. unfold κ_exp, score. rewrite (dot_sym p q (key s ⊕ b)), dot_add, <- exp_plus.
  f_equal. rewrite (dot_sym p b), (dot_sym p (key s)). unfold Rdiv. ring.
Qed.

(** * What fails *)

(** False: the scale α/r acts on W + AᵀBᵀ. *)
Theorem refuted_scale_on_the_sum :
  ~ forall d r α (W A B : Mat) (b b_lora x : Vec),
    mul d x (scale_mat (α / INR r) (add_mat W (product r (transpose A) (transpose B))))
      ⊕ (b ⊕ (α / INR r) ⊙ b_lora) = lora_query d r α W A B b b_lora x.
Proof.
  intros E. specialize (E 1%nat 1%nat 2 (fun _ _ => 1) (fun _ _ => 0) (fun _ _ => 0) zero zero
    (all 1)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold lora_query, lora_update, mul, scale_mat, add_mat, product, transpose, add, scale, zero,
    all. simpl. lra.
Qed.

(** False: LoRA with B = 0 is the backbone although b_lora is not zero. *)
Theorem refuted_identity_with_a_bias :
  ~ forall d r α (W A B : Mat) (b b_lora x : Vec), (forall i j, B i j = 0) ->
    lora_query d r α W A B b b_lora x = mul d x W ⊕ b.
Proof.
  intros E. specialize (E 0%nat 1%nat 1 (fun _ _ => 0) (fun _ _ => 0) (fun _ _ => 0) zero (all 1)
    zero ltac:(reflexivity)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold lora_query, lora_update, mul, add, scale, zero, all. simpl. lra.
Qed.

(** False: every matrix has rank at most 1. *)
Theorem refuted_every_matrix_has_rank_one :
  ~ forall (M : Mat), exists y : Vec, forall x, exists c, mul 2 x M = c ⊙ y.
Proof.
  intros E. destruct (E (fun i j => if Nat.eqb i j then 1 else 0)) as [y Hy].
  destruct (Hy (fun a => if Nat.eqb a 0 then 1 else 0)) as [c Hc].
  destruct (Hy (fun a => if Nat.eqb a 1 then 1 else 0)) as [c' Hc'].
  assert (H0 := f_equal (fun x => x 0%nat) Hc). assert (H1 := f_equal (fun x => x 1%nat) Hc).
  assert (H2 := f_equal (fun x => x 1%nat) Hc'). revert H0 H1 H2.
  unfold mul, scale. simpl. intros H0 H1 H2.
  assert (C0 : c * y 0%nat = 1) by lra. assert (C1 : c * y 1%nat = 0) by lra.
  assert (C : y 1%nat * (c * y 0%nat) = y 0%nat * (c * y 1%nat)) by ring.
  rewrite C0, C1 in C. replace (y 1%nat) with 0 in H2 by lra. lra.
Qed.

(** False: under LoRA on W^q too the ratio of two shares is frozen. *)
Theorem refuted_lora_freezes_the_ratio :
  ~ forall p q Δ S s s', S <> [] ->
    share (κ_exp p) (q ⊕ Δ) S s / share (κ_exp p) (q ⊕ Δ) S s' =
    share (κ_exp p) q S s / share (κ_exp p) q S s'.
Proof.
  intros E. set (s := (all 1, zero)). set (s' := (all 0, zero)).
  specialize (E 1%nat zero (all 1) [s; s'] s s' ltac:(discriminate)).
  rewrite lora_moves_the_ratio in E by discriminate. revert E.
  unfold share, mass, κ_exp, score, dot, sub, key, s, s', all, zero. simpl. rewrite sqrt_1.
  replace ((1 * (1 - 0) + 0) / 1) with 1 by field.
  replace ((0 * 1 + 0) / 1) with 0 by field. replace ((0 * 0 + 0) / 1) with 0 by field.
  rewrite exp_0. intros E. pose proof one_lt_e. field_simplify in E. lra.
Qed.

(** False: a bias of one key alone changes nothing. *)
Theorem refuted_bias_of_one_key :
  ~ forall p q b s s', attention p q [(key s ⊕ b, coefficient s); s'] = attention p q [s; s'].
Proof.
  intros E. specialize (E 1%nat (all 1) (all 1) (zero, all 1) (zero, zero)).
  rewrite !nw_attention in E. apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold NW, mass, κ_exp, score, dot, add, key, coefficient, all, zero. simpl. rewrite sqrt_1.
  replace ((1 * (0 + 1) + 0) / 1) with 1 by field. replace ((1 * 0 + 0) / 1) with 0 by field.
  rewrite exp_0. pose proof one_lt_e. intros E. apply cross_multiply in E; lra.
Qed.
