(** Visible sets: causality, padding, packing and decoding with a cache, for whole models and every
    method.

    A query i sees the keys j ∈ V(i): j ≤ i in a causal model, the real tokens in a padded batch.
    A method is any function of one head's query and the points that it sees: prefix, inducer,
    Gating, Adaptive, or one not thought of yet.  What a block does afterwards at each position
    (W^o, b^o, b_2, residual sums, LayerNorm, FFN, adapters) is any function of that position. *)

From Inducer Require Export Lora.

(** States of a row: position ↦ vector.  Visible sets: position ↦ the positions that it sees. *)
Definition Row := nat -> Vec.
Definition Visible := nat -> list nat.

Definition causal : Visible := fun i => seq 0 (1 + i).

Record Block := {
  query : nat -> Vec -> Vec;
  keys : nat -> Vec -> Vec;
  values : nat -> Vec -> Vec;
  method : nat -> Vec -> list Point -> Vec;
  finish : Vec -> (nat -> Vec) -> Vec
}.

(** One block, and a stack of them; head h's method sees q_i and the points of V(i). *)
Definition apply (V : Visible) (B : Block) (X : Row) : Row := fun i =>
  finish B (X i) (fun h => method B h (query B h (X i))
    (points (fun j => keys B h (X j)) (fun j => values B h (X j)) (V i))).
Definition model (V : Visible) (blocks : list Block) (X : Row) : Row :=
  fold_left (fun X B => apply V B X) blocks X.

Lemma points_ext (K K' V V' : nat -> Vec) visible :
  (forall j, In j visible -> K j = K' j /\ V j = V' j) ->
  points K V visible = points K' V' visible.
Proof.
  intros E. unfold points. apply map_ext_in. intros j Hj. destruct (E j Hj) as [-> ->].
  reflexivity.
Qed.

(** §4.2, Eqs. 5–8.  f̃(q_i) depends on q_i and the visible keys and values alone: other queries,
    and keys and values out of sight, may be anything. *)
Theorem inducer_local MLP_k MLP_v κ (Q Q' K K' V V' : nat -> Vec) (visible : Visible) i :
  Q i = Q' i -> (forall j, In j (visible i) -> K j = K' j /\ V j = V' j) ->
  augmented MLP_k MLP_v κ (Q i) (points K V (visible i)) =
  augmented MLP_k MLP_v κ (Q' i) (points K' V' (visible i)).
Proof. intros HQ HKV. rewrite HQ, (points_ext K K' V V' (visible i) HKV). reflexivity. Qed.

(** §2, Eq. 7.  The general fact: let ι place the positions P of one row in another (in a batch,
    say) so that each sees there what it sees here.  Then every model computes the same for it there
    as here. *)
Theorem same_view_same_output (V V' : Visible) (P : nat -> Prop) (ι : nat -> nat) blocks :
  (forall i, P i -> V' (ι i) = map ι (V i) /\ forall j, In j (V i) -> P j) ->
  forall X X' : Row, (forall i, P i -> X' (ι i) = X i) ->
  forall i, P i -> model V' blocks X' (ι i) = model V blocks X i.
Proof.
  intros HV. induction blocks as [|B blocks IH]; simpl; intros X X' HX; [exact HX|].
  apply IH. intros i Hi. destruct (HV i Hi) as [HVi HP]. unfold apply. rewrite HX by exact Hi.
  f_equal. apply functional_extensionality. intros h. f_equal.
  rewrite HVi. unfold points. rewrite map_map. apply map_ext_in.
  intros j Hj. rewrite HX by auto. reflexivity.
Qed.

(** §2.  A later token changes no earlier output, under every method: if two rows agree up to
    position s, so do the outputs of every causal model. *)
Theorem causal_all_methods blocks (X X' : Row) s :
  (forall j, (j <= s)%nat -> X' j = X j) ->
  forall i, (i <= s)%nat -> model causal blocks X' i = model causal blocks X i.
Proof.
  intros HX. apply (same_view_same_output causal causal (fun i => (i <= s)%nat) (fun i => i)).
  - intros i Hi. split; [symmetry; apply map_id|].
    intros j Hj. apply in_seq in Hj. lia.
  - exact HX.
Qed.

(** Eq. 7.  Masked padding changes no output of a real token, under every method: λ's denominator
    runs over V(i).  Here padding may be anywhere and hold anything. *)
Theorem padding_all_methods (real : nat -> bool) (V : Visible) blocks (X X' : Row) :
  let masked := fun i => filter real (V i) in
  (forall j, real j = true -> X' j = X j) ->
  forall i, real i = true -> model masked blocks X' i = model masked blocks X i.
Proof.
  intros masked HX.
  apply (same_view_same_output masked masked (fun i => real i = true) (fun i => i)).
  - intros i Hi. split; [symmetry; apply map_id|].
    intros j Hj. apply filter_In in Hj. apply Hj.
  - exact HX.
Qed.

Lemma shifted_seq l n : map (fun i => (l + i)%nat) (seq 0 n) = seq l n.
Proof.
  revert l. induction n as [|n IH]; intros l; [reflexivity|]. simpl. rewrite Nat.add_0_r.
  f_equal. rewrite <- seq_shift, map_map, <- (IH (S l)). apply map_ext. intros. lia.
Qed.

(** Eq. 7.  Padding on the left, l places of it: token i of a causal row of n tokens stands at l + i
    and its output is the one without padding. *)
Theorem padding_left l n blocks (X X' : Row) :
  let masked := fun i => filter (fun j => Nat.leb l j) (causal i) in
  (forall i, (i < n)%nat -> X' (l + i)%nat = X i) ->
  forall i, (i < n)%nat -> model masked blocks X' (l + i)%nat = model causal blocks X i.
Proof.
  intros masked HX.
  apply (same_view_same_output causal masked (fun i => (i < n)%nat) (fun i => (l + i)%nat));
    [|exact HX].
  intros i Hi. split.
  - unfold masked, causal. replace (1 + (l + i))%nat with (l + (1 + i))%nat by lia.
    rewrite seq_app, filter_app.
    replace (filter _ (seq 0 l)) with (@nil nat).
    + cbn [app Nat.add]. rewrite <- (shifted_seq l). clear. induction (seq 0 _) as [|j s IH];
        [reflexivity|].
      simpl. destruct (Nat.leb_spec l (l + j)); [rewrite IH; reflexivity | lia].
    + clear. symmetry. assert (H : forall j, In j (seq 0 l) -> (j < l)%nat) by
        (intros j Hj; apply in_seq in Hj; lia).
      induction (seq 0 l) as [|j s IH]; [reflexivity|]. simpl.
      destruct (Nat.leb_spec l j); [specialize (H j (or_introl eq_refl)); lia|].
      apply IH. intros k Hk. apply H. right. exact Hk.
  - intros j Hj. apply in_seq in Hj. lia.
Qed.

(** §6.  A row's result does not depend on the rows that it is packed with: a row placed at an
    offset, whose positions see only their own row, has the outputs that it has alone. *)
Theorem batch_packing (V packed : Visible) n offset blocks (X X' : Row) :
  (forall i, (i < n)%nat -> forall j, In j (V i) -> (j < n)%nat) ->
  (forall i, (i < n)%nat -> packed (offset + i)%nat = map (fun j => (offset + j)%nat) (V i)) ->
  (forall i, (i < n)%nat -> X' (offset + i)%nat = X i) ->
  forall i, (i < n)%nat -> model packed blocks X' (offset + i)%nat = model V blocks X i.
Proof.
  intros HV Hpacked HX.
  apply (same_view_same_output V packed (fun i => (i < n)%nat) (fun i => (offset + i)%nat));
    [|exact HX].
  intros i Hi. split; [apply Hpacked, Hi | apply HV, Hi].
Qed.

(** §6.  Decoding with a cache is recomputation, token by token, under every method.  The state of
    position j was computed when the row was rows j, which agrees with the final row up to j; one
    more block on the cached states gives what the model gives on the whole row. *)
Theorem cache_decoding blocks (B : Block) (X : Row) (rows : nat -> Row) i :
  (forall j k, (k <= j)%nat -> rows j k = X k) ->
  apply causal B (fun j => model causal blocks (rows j) j) i =
  model causal (blocks ++ [B]) X i.
Proof.
  intros Hrows.
  assert (E : (fun j => model causal blocks (rows j) j) = model causal blocks X).
  { apply functional_extensionality. intros j.
    apply (causal_all_methods blocks X (rows j) (s := j)); auto. }
  rewrite E. unfold model. rewrite fold_left_app. reflexivity.
Qed.

(** * What fails *)

(** A block that takes the mean of what it sees. *)
Definition mean_block : Block := {|
  query := fun _ x => x; keys := fun _ _ => zero; values := fun _ x => x;
  method := fun _ q S => NW example_kernel q S; finish := fun _ head => head 0%nat |}.

(** False: a model in which position i sees i + 1 too is causal. *)
Theorem refuted_one_future_token :
  ~ forall blocks (X X' : Row) s, (forall j, (j <= s)%nat -> X' j = X j) ->
    model (fun i => seq 0 (2 + i)) blocks X' s = model (fun i => seq 0 (2 + i)) blocks X s.
Proof.
  intros E. specialize (E [mean_block] (fun _ => zero)
    (fun j => if Nat.eqb j 0 then zero else all 1) 0%nat
    ltac:(intros j Hj; replace j with 0%nat by lia; reflexivity)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold model, apply, points, all. simpl.
  unfold NW, mass, example_kernel, zero, key, coefficient. simpl.
  intros E. field_simplify in E. lra.
Qed.

(** False: padding that is not masked changes nothing. *)
Theorem refuted_unmasked_padding :
  ~ forall (real : nat -> bool) (V : Visible) blocks (X X' : Row),
    (forall j, real j = true -> X' j = X j) ->
    forall i, real i = true -> model V blocks X' i = model V blocks X i.
Proof.
  intros E. specialize (E (fun j => Nat.eqb j 0) (fun _ => seq 0 2) [mean_block] (fun _ => zero)
    (fun j => if Nat.eqb j 0 then zero else all 1)
    ltac:(intros j Hj; cbv beta in Hj |- *; rewrite Hj; reflexivity) 0%nat ltac:(reflexivity)).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold model, apply, points, all. simpl.
  unfold NW, mass, example_kernel, zero, key, coefficient. simpl.
  intros E. field_simplify in E. lra.
Qed.

(** False: q_{i−1} may stand for q_i. *)
Theorem refuted_query_of_another_position :
  ~ forall MLP_k MLP_v κ (Q K V : nat -> Vec) (visible : Visible) i, positive κ ->
    augmented MLP_k MLP_v κ (Q (1 + i)%nat) (points K V (visible i)) =
    augmented MLP_k MLP_v κ (Q i) (points K V (visible i)).
Proof.
  intros E. specialize (E (fun _ => zero) (fun q => q) example_kernel (fun i => all (INR i))
    (fun _ => zero) (fun _ => zero) (fun _ => [0%nat]) 0%nat example_kernel_positive).
  apply (f_equal (fun x => x 0%nat)) in E. revert E.
  unfold augmented, inducer_key, inducer_value, NW, mass, points, example_kernel, add, all, zero,
    key, coefficient, NW, mass, key, coefficient. simpl.
  intros E. field_simplify in E. lra.
Qed.
