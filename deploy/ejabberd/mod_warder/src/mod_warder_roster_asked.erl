%%% The questions for one user's roster that are open, and who waits for the answer to each. A question is asked by a
%%% process of its own, whose end is the answer.
-module(mod_warder_roster_asked).

-export([new/0, add/5, ended/2, is_empty/1]).
-export([join/2, follow/3, give_up/1, tell/2]).
-export_type([asked/0, tag/0]).

%% Who is sent `{warder_roster_had, Ref, HasRoster}'.
-type tag() :: {pid(), reference()}.

-record(question, {
    ticket :: warder_roster_order:ticket(),
    waiting :: [tag()],
    turn :: reference() | none
}).

%% By the monitor of the process that asks.
-opaque asked() :: #{reference() => #question{}}.

-spec new() -> asked().
new() ->
    #{}.

%% @doc Asks by a function. What it returns is the reason of the 'DOWN' of its process: `{answer, Result}'.
-spec add(fun(() -> term()), warder_roster_order:ticket(), [tag()], Turn :: reference() | none, asked()) -> asked().
add(Ask, Ticket, Waiting, Turn, Asked) ->
    {_, Ref} = spawn_monitor(fun() -> exit({answer, Ask()}) end),
    Asked#{Ref => #question{ticket = Ticket, waiting = Waiting, turn = Turn}}.

%% @doc Whose 'DOWN' this is; its turn in the queue is over. `none': of nobody who was asking.
-spec ended(reference(), asked()) -> {warder_roster_order:ticket(), [tag()], asked()} | none.
ended(Ref, Asked) ->
    case maps:take(Ref, Asked) of
        {#question{ticket = Ticket, waiting = Waiting, turn = Turn}, Others} ->
            _ = Turn =/= none andalso warder_roster_queue:leave(Turn),
            {Ticket, Waiting, Others};
        error ->
            none
    end.

-spec is_empty(asked()) -> boolean().
is_empty(Asked) ->
    map_size(Asked) =:= 0.

%% @doc Who comes while it is asked waits for the latest.
-spec join(tag(), asked()) -> asked().
join(Tag, Asked) ->
    ByTicket = lists:sort([{Ticket, Ref} || {Ref, #question{ticket = Ticket}} <- maps:to_list(Asked)]),
    {_, Latest} = lists:last(ByTicket),
    wait_for(Latest, Tag, Asked).

%% @doc With somebody who waits for what he waits for under an earlier reference. `over': it is, or never was.
-spec follow(tag(), Earlier :: tag(), asked()) -> {ok, asked()} | over.
follow(Tag, Earlier, Asked) ->
    case [Ref || {Ref, #question{waiting = Waiting}} <- maps:to_list(Asked), lists:member(Earlier, Waiting)] of
        [Ref | _] -> {ok, wait_for(Ref, Tag, Asked)};
        [] -> over
    end.

wait_for(Ref, Tag, Asked) ->
    #question{waiting = Waiting} = Question = maps:get(Ref, Asked),
    Asked#{Ref => Question#question{waiting = [Tag | Waiting]}}.

%% @doc Nobody waits any more.
-spec give_up(asked()) -> asked().
give_up(Asked) ->
    maps:map(
        fun(_, #question{waiting = Waiting} = Question) ->
            ok = tell(Waiting, false),
            Question#question{waiting = []}
        end,
        Asked
    ).

-spec tell([tag()], HasRoster :: boolean()) -> ok.
tell(Waiting, HasRoster) ->
    lists:foreach(fun({Pid, Ref}) -> Pid ! {warder_roster_had, Ref, HasRoster} end, Waiting).
