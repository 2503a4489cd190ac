%%% Asking and telling about what goes on between a user and a contact: roster-subscription. What was told of the two
%%% on this node is with the workers before the next question about them is asked, so that taking back and asking anew
%%% keep their order. Knows no stanzas. One process for each host, which waits for nobody.
-module(mod_warder_relations).
-behaviour(gen_server).

-export([start/1, stop/1]).
-export([ask/3, tell/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([event/0]).

-define(OPERATION, roster_subscription).
%% What the workers take.
-define(MAX_TEXT_BYTES, 4096).
%% Over the budget of what was told.
-define(SLACK_MS, 1000).

%% `user' is at home here. `text': what the sender says to it, possibly nothing.
-type event() :: #{
    user := {LUser :: binary(), LServer :: binary()},
    contact := binary(),
    direction := warder_subscription:direction(),
    action := warder_subscription:action(),
    text := binary()
}.
-type pair() :: {User :: {binary(), binary()}, Contact :: binary()}.

-record(state, {
    %% How much is being told of the two, and who waits for the end of it.
    telling = #{} :: #{pair() => {pos_integer(), [gen_server:from()]}},
    monitors = #{} :: #{reference() => pair()}
}).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    mod_warder_child:start(?MODULE, Host).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    mod_warder_child:stop(?MODULE, Host).

%% @doc `Side': who has caused it. Waits for the workers, within the budgets.
-spec ask(mod_warder_hosts:context(), mod_warder_options:side(), event()) -> mod_warder_decide:verdict().
ask(#{settings := #{budgets_ms := #{?OPERATION := BudgetMs}}} = Context, Side, #{user := User, contact := Contact} = Event) ->
    {_, LServer} = User,
    ok = until_told(LServer, {User, Contact}, BudgetMs + ?SLACK_MS),
    mod_warder_decide:ask(Context, ?OPERATION, Side, request(Event), undefined).

%% What cannot be waited for is not waited for: the question is the more important.
until_told(LServer, Pair, TimeoutMs) ->
    try
        gen_server:call(process(LServer), {until_told, Pair}, TimeoutMs)
    catch
        exit:_ -> ok
    end.

%% @doc Waits for nobody; what fails is counted and logged.
-spec tell(event()) -> ok.
tell(#{user := {_, LServer}} = Event) ->
    gen_server:cast(process(LServer), {tell, Event}).

process(LServer) -> mod_warder_child:process(?MODULE, LServer).

request(#{user := {LUser, LServer}, contact := Contact, direction := Direction, action := Action, text := Text}) ->
    Request = #{
        <<"user">> => <<LUser/binary, $@, LServer/binary>>,
        <<"contact">> => Contact,
        <<"direction">> => atom_to_binary(Direction),
        <<"action">> => atom_to_binary(Action)
    },
    case Text of
        <<>> -> Request;
        _ -> Request#{<<"text">> => shortened(Text)}
    end.

%% Not within a character.
shortened(<<Text:?MAX_TEXT_BYTES/binary, _, _/binary>>) ->
    case unicode:characters_to_binary(Text) of
        {incomplete, Whole, _} -> Whole;
        Whole -> Whole
    end;
shortened(Text) ->
    Text.

%% @private
init(_Host) ->
    {ok, #state{}}.

%% @private
handle_call({until_told, Pair}, From, #state{telling = Telling} = State) ->
    case Telling of
        #{Pair := {Count, Waiting}} ->
            {noreply, State#state{telling = Telling#{Pair => {Count, [From | Waiting]}}}};
        _ ->
            {reply, ok, State}
    end.

%% @private
handle_cast({tell, #{user := User, contact := Contact} = Event}, State) ->
    #state{telling = Telling, monitors = Monitors} = State,
    {_, Monitor} = spawn_monitor(fun() -> tell_now(Event) end),
    Pair = {User, Contact},
    {Count, Waiting} = maps:get(Pair, Telling, {0, []}),
    {noreply, State#state{telling = Telling#{Pair => {Count + 1, Waiting}}, monitors = Monitors#{Monitor => Pair}}}.

%% @private
handle_info({'DOWN', Monitor, process, _, _}, #state{telling = Telling, monitors = Monitors} = State) ->
    {Pair, Others} = maps:take(Monitor, Monitors),
    Left =
        case maps:take(Pair, Telling) of
            {{1, Waiting}, Rest} ->
                [gen_server:reply(From, ok) || From <- Waiting],
                Rest;
            {{Count, Waiting}, Rest} ->
                Rest#{Pair => {Count - 1, Waiting}}
        end,
    {noreply, State#state{telling = Left, monitors = Others}};
handle_info(_Other, State) ->
    {noreply, State}.

tell_now(#{user := {_, LServer}} = Event) ->
    case mod_warder_hosts:find(LServer) of
        {ok, Context} ->
            case mod_warder_decide:fetch(Context, ?OPERATION, request(Event), #{}) of
                {ok, _} -> mod_warder_decide:answered(Context, ?OPERATION, told);
                {error, Failure} -> mod_warder_decide:failed(Context, ?OPERATION, Failure, not_told)
            end;
        none ->
            ok
    end.
