%%% What a decision is remembered under, by operation and scope. A scope that is not listed has no meaning for the
%%% operation, and an operation without scopes is never remembered.
-module(warder_near_keys).

-export([scopes/1, scopes/2, sides/2, key/5, index/1, bit/1]).

-spec scopes(warder_operations:operation()) -> [warder_replies:scope()].
scopes(stanza_check) -> [pair, pair_full, sender];
scopes(join_check) -> [pair, pair_full, sender, room];
scopes(session_check) -> [sender];
scopes(_) -> [].

%% @doc Those of a set, as {@link bit/1} makes it.
-spec scopes(warder_operations:operation(), non_neg_integer()) -> [warder_replies:scope()].
scopes(_Operation, 0) -> [];
%% By far the most common one.
scopes(stanza_check, 1) -> [pair];
scopes(Operation, Set) -> [Scope || Scope <- scopes(Operation), Set band bit(Scope) =/= 0].

-spec bit(warder_replies:scope()) -> pos_integer().
bit(pair) -> 1;
bit(pair_full) -> 2;
bit(sender) -> 4;
bit(room) -> 8.

-spec index(warder_operations:operation()) -> pos_integer() | none.
index(stanza_check) -> 1;
index(join_check) -> 2;
index(session_check) -> 3;
index(_) -> none.

%% @doc Who stands on either side: their bare JIDs, which changes name.
-spec sides(warder_operations:operation(), warder_ask:request()) -> {binary(), binary() | none}.
sides(stanza_check, #{<<"from">> := From, <<"to">> := To}) -> {bare(From), bare(To)};
sides(join_check, #{<<"user">> := User, <<"room">> := Room}) -> {bare(User), bare(Room)};
sides(session_check, #{<<"user">> := User}) -> {bare(User), none}.

bare(Jid) -> bare(Jid, Jid, 0).

bare(<<"/", _/binary>>, Jid, Size) -> binary:part(Jid, 0, Size);
bare(<<_, Rest/binary>>, Jid, Size) -> bare(Rest, Jid, Size + 1);
bare(<<>>, Jid, _Size) -> Jid.

-spec key(warder_operations:operation(), warder_replies:scope(), warder_ask:request(), binary(), binary() | none) -> tuple().
key(stanza_check, Scope, #{<<"hook">> := Hook, <<"kind">> := Kind} = Request, Jid, Other) ->
    Type = maps:get(<<"type">>, Request, <<>>),
    case Scope of
        pair -> {stanza, Hook, Kind, Type, Jid, Other};
        pair_full -> {stanza_full, Hook, Kind, Type, maps:get(<<"from">>, Request), maps:get(<<"to">>, Request)};
        sender -> {stanza_sender, Hook, Kind, Type, Jid}
    end;
key(join_check, Scope, Request, Jid, Other) ->
    Event = maps:get(<<"event">>, Request, <<"join">>),
    IsCreating = maps:get(<<"creating">>, Request, false) =:= true,
    case Scope of
        pair -> {join, Event, IsCreating, Jid, Other};
        pair_full -> {join_full, Event, IsCreating, maps:get(<<"user">>, Request), Other};
        sender -> {join_sender, Event, IsCreating, Jid};
        room -> {join_room, Event, IsCreating, Jid, Other}
    end;
key(session_check, sender, _Request, Jid, none) ->
    {session_sender, Jid}.
