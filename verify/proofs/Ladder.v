(** §6.2: the ladder Prefix → Adaptive → Extension → Inducer and the ablation Gating, each a
    restriction of one form,

        Σ_h [(1 − γ λ^(h)) f^(h) W^{o(h)} + λ^(h) u^(h)] + b_2 + b^o,   P_k = q + MLP_k(q):

    Inducer is γ = 0, Gating γ = 1; Extension is Inducer with MLP_k = 0, Adaptive is Extension with
    W_2^(h) = U^(h) W^{o(h)} and no b_2. *)

From Inducer Require Export Extension.

Section Ladder.
Variables (H p : nat) (Wo : Mat) (bo : Vec).
Variables (κ : Kernel) (q : nat -> Vec) (S : nat -> list Point).
(** Throughout, let κ be positive and let every head's query see a key. *)
Hypotheses (Hκ : positive κ) (HS : forall h, S h <> []).

Definition gate (MLP_k : nat -> Vec -> Vec) (h : nat) : R :=
  λ κ (q h) (inducer_key (MLP_k h) (q h)) (S h).

(** The one form; u h is head h's update in R^d as a function of its query. *)
Definition one_form (γ : R) (MLP_k u : nat -> Vec -> Vec) (b2 : Vec) : Vec :=
  (∑ h < H, ((1 - γ * gate MLP_k h) ⊙ extended_f p Wo κ q S h ⊕ gate MLP_k h ⊙ u h (q h)))
  ⊕ b2 ⊕ bo.

(** The variants as §6.2 lists them. *)
Definition inducer (MLP_k u : nat -> Vec -> Vec) (b2 : Vec) : Vec :=
  output H p Wo bo κ q S (gate MLP_k) (fun h => u h (q h)) b2.
Definition gating (MLP_k u : nat -> Vec -> Vec) (b2 : Vec) : Vec :=
  (∑ h < H, ((1 - gate MLP_k h) ⊙ extended_f p Wo κ q S h ⊕ gate MLP_k h ⊙ u h (q h)))
  ⊕ b2 ⊕ bo.
Definition extension (u : nat -> Vec -> Vec) (b2 : Vec) : Vec :=
  output H p Wo bo κ q S (fun h => λ κ (q h) (q h) (S h)) (fun h => u h (q h)) b2.
Definition adaptive (u : nat -> Vec -> Vec) : Vec :=
  mul (H * p)
    (concat_heads p (fun h => NW κ (q h) (S h) ⊕ λ κ (q h) (q h) (S h) ⊙ u h (q h))) Wo ⊕ bo.
Definition prefix_tuning (P : nat -> list Point) : Vec :=
  mul (H * p) (concat_heads p (fun h => NW κ (q h) (P h ++ S h))) Wo ⊕ bo.

Definition no_MLP : nat -> Vec -> Vec := fun _ _ => zero.

Lemma key_without_MLP h : inducer_key (no_MLP h) (q h) = q h.
Proof. unfold inducer_key, no_MLP. coordinates. ring. Qed.

(** §6.2.  Inducer without MLP_k is Extension: C = c = 0 gives P_k = q. *)
Theorem ladder_extension u b2 : inducer no_MLP u b2 = extension u b2.
Proof.
  unfold inducer, extension, output. do 2 f_equal. apply sum_vec_ext. intros h _.
  unfold gate. rewrite key_without_MLP. reflexivity.
Qed.

(** §6.2.  Extension with W_2^(h) = U^(h) W^{o(h)} and b_2 = 0 is Adaptive without its biases. *)
Theorem ladder_adaptive r (hidden : nat -> Vec -> Vec) (U : nat -> Mat) :
  adaptive (fun h x => mul r (hidden h x) (U h)) =
  extension
    (fun h x => mul r (hidden h x) (fun b c => Σ a < p, U h b a * row_block p h Wo a c)) zero.
Proof.
  unfold adaptive, extension.
  apply (@eq09_extension_contains_adaptive H p Wo bo κ q S r
    (fun h => λ κ (q h) (q h) (S h)) (fun h => hidden h (q h)) U).
Qed.

(** §6.2.  Adaptive's biases b_2^(h) ∈ R^p are weighted by λ: they add Σ_h λ^(h) b_2^(h) W^{o(h)},
    which is where Extension with its one unweighted b_2 and Adaptive part. *)
Theorem ladder_adaptive_bias (u : nat -> Vec -> Vec) (c : nat -> Vec) :
  adaptive (fun h x => u h x ⊕ c h) =
  adaptive u ⊕ ∑ h < H, λ κ (q h) (q h) (S h) ⊙ mul p (c h) (row_block p h Wo).
Proof.
  unfold adaptive. rewrite !eq04_row_blocks.
  transitivity ((∑ h < H, (mul p (NW κ (q h) (S h) ⊕ λ κ (q h) (q h) (S h) ⊙ u h (q h))
                              (row_block p h Wo)
                   ⊕ λ κ (q h) (q h) (S h) ⊙ mul p (c h) (row_block p h Wo))) ⊕ bo).
  - f_equal. apply sum_vec_ext. intros h _. rewrite <- mul_scale, <- mul_add. f_equal.
    coordinates. ring.
  - coordinates. rewrite sum_plus. ring.
Qed.

(** §6.2.  Adaptive is prefix-tuning whose one virtual token is made from the query: key q, value
    f(q) + MLP_v(q). *)
Theorem ladder_prefix (MLP_v : nat -> Vec -> Vec) :
  adaptive MLP_v =
  prefix_tuning (fun h => [(q h, NW κ (q h) (S h) ⊕ MLP_v h (q h))]).
Proof.
  unfold adaptive, prefix_tuning. rewrite !eq04_row_blocks. f_equal. apply sum_vec_ext.
  intros h _. f_equal. simpl. rewrite eq07_mixture by auto. coordinates. ring.
Qed.

(** §6.2.  Gating − Inducer = −Σ_h λ^(h) f^(h) W^{o(h)}. *)
Theorem ladder_gating MLP_k u b2 :
  gating MLP_k u b2 ⊖ inducer MLP_k u b2 =
  (-1) ⊙ ∑ h < H, gate MLP_k h ⊙ extended_f p Wo κ q S h.
Proof.
  unfold gating, inducer, output. coordinates.
  rewrite (sum_ext _ _ (fun h => extended_f p Wo κ q S h c + gate MLP_k h * u h (q h) c
    + -1 * (gate MLP_k h * extended_f p Wo κ q S h c))) by (intros; ring).
  rewrite sum_plus, sum_scale. ring.
Qed.

(** §6.2.  Gating is the estimator over n + 1 extended points whose own value is MLP_v(q) alone:
    (1 − λ) f W^o + λ MLP_v = NW(q; [P_k; K], [MLP_v; V W^o]). *)
Theorem ladder_gating_augmented MLP_k u b2 :
  gating MLP_k u b2 =
  (∑ h < H, NW κ (q h) ((inducer_key (MLP_k h) (q h), u h (q h)) :: extended p h Wo (S h)))
  ⊕ b2 ⊕ bo.
Proof.
  unfold gating. do 2 f_equal. apply sum_vec_ext. intros h _.
  rewrite eq07_mixture by (auto; apply extended_nonempty; auto).
  rewrite λ_extended, nw_extended by auto. coordinates. unfold extended_f, gate. ring.
Qed.

(** §6.2.  All of them are restrictions of one form. *)
Theorem ladder_one_form MLP_k u b2 :
  one_form 0 MLP_k u b2 = inducer MLP_k u b2 /\
  one_form 1 MLP_k u b2 = gating MLP_k u b2 /\
  one_form 0 no_MLP u b2 = extension u b2 /\
  (forall r hidden U,
    u = (fun h x => mul r (hidden h x) (fun b c => Σ a < p, U h b a * row_block p h Wo a c)) ->
    one_form 0 no_MLP u zero = adaptive (fun h x => mul r (hidden h x) (U h))).
Proof.
  assert (E : forall k v b, one_form 0 k v b = inducer k v b).
  { intros. unfold one_form, inducer, output. do 2 f_equal. apply sum_vec_ext. intros.
    coordinates. ring. }
  repeat split.
  - apply E.
  - unfold one_form, gating. do 2 f_equal. apply sum_vec_ext. intros. coordinates. ring.
  - rewrite E. apply ladder_extension.
  - intros r hidden U ->. rewrite E, ladder_extension. symmetry. apply ladder_adaptive.
Qed.

(** §5.  Under Gating with MLP_v and b_2 at zero the start is not the frozen layer: it lacks
    Σ_h λ^(h) f^(h) W^{o(h)}.  Inducer at the same start is the frozen layer. *)
Theorem ladder_start MLP_k :
  let frozen := (∑ h < H, extended_f p Wo κ q S h) ⊕ bo in
  inducer MLP_k no_MLP zero = frozen /\
  gating MLP_k no_MLP zero =
    frozen ⊖ ∑ h < H, gate MLP_k h ⊙ extended_f p Wo κ q S h.
Proof.
  intros frozen. assert (E : inducer MLP_k no_MLP zero = frozen).
  { unfold inducer, output, frozen. coordinates. unfold no_MLP, zero.
    rewrite (sum_ext _ _ (fun h => extended_f p Wo κ q S h c)) by (intros; ring). ring. }
  split; [exact E|].
  pose proof (ladder_gating MLP_k no_MLP zero) as G. rewrite E in G.
  apply functional_extensionality. intros a. apply (f_equal (fun x => x a)) in G.
  revert G. unfold sub, scale. intros G. lra.
Qed.

(** Eq. 10, §6.2.  MAM inducer with a zero FFN adapter is Inducer + LoRA: FFN(x) + s · 0. *)
Theorem ladder_mam (FFN adapter : Vec -> Vec) s x : adapter x = zero ->
  FFN x ⊕ s ⊙ adapter x = FFN x.
Proof. intros ->. coordinates. ring. Qed.
End Ladder.

(** * What fails *)

(** False: the sign of Gating − Inducer is +. *)
Theorem refuted_gating_adds :
  ~ forall H p Wo bo κ q S MLP_k u b2, positive κ -> (forall h, S h <> []) ->
    gating H p Wo bo κ q S MLP_k u b2 ⊖ inducer H p Wo bo κ q S MLP_k u b2 =
    ∑ h < H, gate κ q S MLP_k h ⊙ extended_f p Wo κ q S h.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun _ _ => 1) zero example_kernel (fun _ => zero) one_point
    no_MLP no_MLP zero example_kernel_positive ltac:(discriminate)).
  rewrite ladder_gating in E. apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold sum_vec, scale, gate, no_MLP, inducer_key, λ, extended_f, mul, NW, mass, one_point,
    row_block, example_kernel, all, zero, add, key, coefficient. simpl.
  intros E. field_simplify in E. lra.
Qed.

(** False: Inducer is Extension although MLP_k's bias is not zero. *)
Theorem refuted_extension_with_a_key_bias :
  ~ forall H p Wo bo κ q S u b2 (c : Vec), positive κ -> (forall h, S h <> []) ->
    inducer H p Wo bo κ q S (fun _ _ => c) u b2 = extension H p Wo bo κ q S u b2.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun _ _ => 0) zero example_kernel (fun _ => zero) one_point
    (fun _ _ => all 1) zero (all 1) example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold inducer, extension, output, sum_vec, scale, gate, inducer_key, λ, extended_f, mul, mass,
    one_point, row_block, example_kernel, all, zero, add, key. simpl.
  intros E. field_simplify in E. lra.
Qed.

(** False: Inducer, like Gating, has MLP_v(q) alone as its own value. *)
Theorem refuted_inducer_value_alone :
  ~ forall H p Wo bo κ q S MLP_k u b2, positive κ -> (forall h, S h <> []) ->
    inducer H p Wo bo κ q S MLP_k u b2 =
    (∑ h < H, NW κ (q h) ((inducer_key (MLP_k h) (q h), u h (q h)) :: extended p h Wo (S h)))
    ⊕ b2 ⊕ bo.
Proof.
  intros E. specialize (E 1%nat 1%nat (fun _ _ => 1) zero example_kernel (fun _ => zero) one_point
    no_MLP no_MLP zero example_kernel_positive ltac:(discriminate)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold inducer, output, extended, sum_vec, scale, gate, no_MLP, inducer_key, λ, extended_f, mul,
    NW, mass, one_point, row_block, example_kernel, all, zero, add, key, coefficient. simpl.
  intros E. field_simplify in E. lra.
Qed.

(** False: an FFN adapter that is not zero changes nothing. *)
Theorem refuted_mam_with_a_bias :
  ~ forall (FFN : Vec -> Vec) (b : Vec) s x, FFN x ⊕ s ⊙ b = FFN x.
Proof.
  intros E. specialize (E (fun x => x) (all 1) 1 zero).
  apply (f_equal (fun x => x 0%nat)) in E. revert E. unfold add, scale, zero, all. lra.
Qed.
