%%% Says on `<prefix>.ctl.seen' who this node is and which change it has seen, every second and soon after a change, so that
%%% whoever made the change can know when it has reached everyone.
-module(warder_announcer).
-behaviour(gen_server).

-export([start_link/1, changed/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(INTERVAL_MS, 1000).
%% A change is announced at once, but not each of a thousand in a second.
-define(SHORTEST_INTERVAL_MS, 100).

-record(state, {
    id :: atom(),
    client :: atom(),
    subject :: binary(),
    name :: binary(),
    seen :: fun(() -> non_neg_integer()),
    announced_at :: integer(),
    is_soon = false :: boolean()
}).

%% @doc `id': whose announcements these are; two that see changes each for itself are two for those who wait, on one node
%% too. `name': who this node is, for people.
-spec start_link(#{
    id := atom(), client := atom(), prefix := binary(), name := binary(), seen := fun(() -> non_neg_integer())
}) -> {ok, pid()}.
start_link(Options) ->
    {ok, _} = gen_server:start_link(?MODULE, Options, []).

%% @doc A change was applied.
-spec changed(pid()) -> ok.
changed(Pid) ->
    gen_server:cast(Pid, changed).

%% @private
init(#{id := Id, client := Client, prefix := Prefix, name := Name, seen := Seen}) ->
    {ok, _} = timer:send_interval(?INTERVAL_MS, announce),
    Subject = <<Prefix/binary, ".ctl.seen">>,
    State = #state{id = Id, client = Client, subject = Subject, name = Name, seen = Seen, announced_at = now_ms()},
    {ok, announce(State)}.

%% A publication that fails is followed by the next.
announce(#state{id = OfWhom, client = Client, subject = Subject, name = Name, seen = Seen} = State) ->
    Announcement = #{v => 1, kind => <<"hook">>, boot_id => boot_id(OfWhom), name => Name, seen => Seen()},
    _ = warder_nats:publish(Client, Subject, warder_json:encode(Announcement)),
    State#state{announced_at = now_ms()}.

%% The same for as long as the node runs: it outlives the processes in it.
boot_id(OfWhom) ->
    string:lowercase(binary:encode_hex(warder_secret:digest(atom_to_binary(OfWhom), 12))).

%% @private
handle_call(_Request, _From, State) ->
    {noreply, State}.

%% @private
handle_cast(changed, #state{is_soon = true} = State) ->
    {noreply, State};
handle_cast(changed, #state{announced_at = AnnouncedAt} = State) ->
    case AnnouncedAt + ?SHORTEST_INTERVAL_MS - now_ms() of
        Due when Due =< 0 ->
            {noreply, announce(State)};
        Due ->
            _ = erlang:send_after(Due, self(), soon),
            {noreply, State#state{is_soon = true}}
    end.

%% @private
handle_info(announce, State) -> {noreply, announce(State)};
handle_info(soon, State) -> {noreply, announce(State#state{is_soon = false})};
handle_info(_Other, State) -> {noreply, State}.

now_ms() ->
    erlang:monotonic_time(millisecond).
