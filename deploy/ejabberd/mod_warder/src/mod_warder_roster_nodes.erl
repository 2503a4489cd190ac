%%% A user's roster wherever in the cluster he is online: each node holds one for its own sessions.
-module(mod_warder_roster_nodes).

-export([roster/2, contact/3, current_contact/3, change/4]).
%% For other nodes.
-export([change_here/4]).
-export_type([known/0]).

%% For another node of the cluster.
-define(TIMEOUT_MS, 2000).

%% What a roster says of a contact, and whether his request for a subscription is open. `unknown': nobody here has it.
-type known() :: {mod_warder_roster_items:item() | none, Requests :: boolean()} | unknown.

%% @doc Asks no worker, so that of who is offline nothing is known.
-spec roster(LUser :: binary(), LServer :: binary()) -> {ok, mod_warder_roster_items:roster()} | none.
roster(LUser, LServer) ->
    case mod_warder_roster_state:get(LUser, LServer) of
        {ok, Roster} -> {ok, Roster};
        none -> elsewhere(others(LUser, LServer), LUser, LServer)
    end.

elsewhere([], _LUser, _LServer) ->
    none;
elsewhere([Node | Nodes], LUser, LServer) ->
    try erpc:call(Node, mod_warder_roster_state, get, [LUser, LServer], ?TIMEOUT_MS) of
        {ok, Roster} -> {ok, Roster};
        none -> elsewhere(Nodes, LUser, LServer)
    catch
        _:_ -> elsewhere(Nodes, LUser, LServer)
    end.

%% @doc As {@link roster/2}.
-spec contact(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> known().
contact(LUser, LServer, Contact) ->
    case roster(LUser, LServer) of
        {ok, Roster} -> of_roster(Contact, Roster);
        none -> unknown
    end.

of_roster(Contact, #{items := Items, pending := Pending}) ->
    {maps:get(Contact, Items, none), is_map_key(Contact, Pending)}.

%% @doc Of who is offline, the workers are asked. Takes as long as that may.
-spec current_contact(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> known().
current_contact(LUser, LServer, Contact) ->
    case contact(LUser, LServer, Contact) of
        unknown ->
            case mod_warder_roster:current(LUser, LServer) of
                {ok, Roster} -> of_roster(Contact, Roster);
                none -> unknown
            end;
        Known ->
            Known
    end.

%% @doc As {@link mod_warder_roster:change/4}, by `Module:Function(Arguments..., Roster)', on every node where the user is
%% online. Whether there was a roster to change on any.
-spec change(LUser :: binary(), LServer :: binary(), Seq :: non_neg_integer(), {module(), atom(), [term()]}) -> boolean().
change(LUser, LServer, Seq, Change) ->
    Arguments = [LUser, LServer, Seq, Change],
    Here = change_here(LUser, LServer, Seq, Change),
    %% One after the other: two changes of one roster must not overtake each other on their way.
    Elsewhere = [
        try
            erpc:call(Node, ?MODULE, change_here, Arguments, ?TIMEOUT_MS)
        catch
            %% It asks for the roster when it is there again.
            _:_ -> false
        end
     || Node <- others(LUser, LServer)
    ],
    lists:member(true, [Here | Elsewhere]).

%% @private
-spec change_here(binary(), binary(), non_neg_integer(), {module(), atom(), [term()]}) -> boolean().
change_here(LUser, LServer, Seq, {Module, Function, Arguments}) ->
    Change = fun(Roster) -> apply(Module, Function, Arguments ++ [Roster]) end,
    mod_warder_roster:change(LUser, LServer, Seq, Change) =/= none.

others(LUser, LServer) ->
    lists:usort([node(Session) || {_, Session} <- ejabberd_sm:get_session_sids(LUser, LServer)]) -- [node()].
