%%% What a host has asked and how it went, counted without locks; one line in the log for many failures of one kind; and
%%% the command `ejabberdctl warder_stats'.
-module(mod_warder_stats).

-export([of_host/1, answered/3, remembered/3, failed/5, counts/0, register_command/0, unregister_command/0, command/0]).
-export_type([stats/0]).

-include("logger.hrl").
-include("ejabberd_commands.hrl").

-record(stats, {counters :: counters:counters_ref(), reported :: atomics:atomics_ref()}).
-opaque stats() :: #stats{}.

%% Of many failures of one kind, one line in so many milliseconds.
-define(REPORT_MS, 10000).

-define(OPERATIONS, [
    stanza_check, join_check, session_check, roster_refresh, roster_set, roster_subscription, user_removed
]).
%% What an answer was, and what was done without one.
-define(WORDS, [
    allow, deny, drop, modify, defer, ok, error, last_known, told, not_told, told_again, given_up, forgotten, unknown,
    not_refreshed, other
]).
%% `crashed': a fault of the hook's own.
-define(FAILURES, [
    no_responders, timeout, disconnected, too_large, bad_request, expired, overloaded, stanza_required,
    source_unavailable, internal, bad_reply, crashed, other
]).
-define(ROW, [{host, string}, {subject, string}, {class, string}, {name, string}, {number, integer}]).
-define(CLASSES, [{answered, ?WORDS}, {remembered, ?WORDS}, {failed, ?FAILURES}, {taken, ?WORDS}]).

%% @doc For one process after the other. Kept for as long as the node runs, so that what was counted is never less: also
%% when the host's module is stopped and started again, or something is answered after it was stopped.
-spec of_host(binary()) -> stats().
of_host(Host) ->
    case persistent_term:get({?MODULE, Host}, none) of
        none ->
            Stats = new(),
            ok = persistent_term:put({?MODULE, Host}, Stats),
            ok = persistent_term:put(?MODULE, [Stats | persistent_term:get(?MODULE, [])]),
            Stats;
        Stats ->
            Stats
    end.

new() ->
    Reported = atomics:new(2 * length(?OPERATIONS) * length(?FAILURES) * length(?WORDS), []),
    #stats{counters = counters:new(length(?OPERATIONS) * row_size(), [write_concurrency]), reported = Reported}.

row_size() ->
    lists:sum([length(Words) || {_, Words} <- ?CLASSES]).

%% @doc A worker's answer.
-spec answered(warder_operations:operation(), atom(), stats()) -> ok.
answered(Operation, Word, Stats) ->
    count(Operation, answered, Word, Stats).

%% @doc What was known without asking.
-spec remembered(warder_operations:operation(), atom(), stats()) -> ok.
remembered(Operation, Word, Stats) ->
    count(Operation, remembered, Word, Stats).

%% @doc There was no answer, so `Taken' was done.
-spec failed(Host :: binary(), warder_operations:operation(), Failure :: atom(), Taken :: atom(), stats()) -> ok.
failed(Host, Operation, Failure, Taken, Stats) ->
    ok = count(Operation, failed, Failure, Stats),
    ok = count(Operation, taken, Taken, Stats),
    report(Host, Operation, Failure, Taken, Stats).

count(Operation, Class, Word, #stats{counters = Counters}) ->
    counters:add(Counters, index(Operation, Class, Word), 1).

index(Operation, Class, Word) ->
    (position(Operation, ?OPERATIONS) - 1) * row_size() + offset(Class, Word, ?CLASSES).

offset(Class, Word, [{Class, Words} | _]) -> position(Word, Words);
offset(Class, Word, [{_, Words} | Classes]) -> length(Words) + offset(Class, Word, Classes).

%% What is not in the list counts as its last.
position(_, [_]) -> 1;
position(Word, [Word | _]) -> 1;
position(Word, [_ | Words]) -> 1 + position(Word, Words).

report(Host, Operation, Failure, Taken, #stats{reported = Reported}) ->
    Kind = (position(Operation, ?OPERATIONS) - 1) * length(?FAILURES) + position(Failure, ?FAILURES) - 1,
    At = 2 * (Kind * length(?WORDS) + position(Taken, ?WORDS)) - 1,
    Now = erlang:monotonic_time(millisecond),
    Before = atomics:get(Reported, At),
    IsDue = Before =:= 0 orelse Now - Before >= ?REPORT_MS,
    %% Of several at once, one reports.
    case IsDue andalso atomics:compare_exchange(Reported, At, Before, Now) of
        ok -> log(Host, Operation, Failure, Taken, atomics:exchange(Reported, At + 1, 0));
        _ -> atomics:add(Reported, At + 1, 1)
    end.

log(Host, Operation, Failure, Taken, Unreported) ->
    More = [io_lib:format(" (and ~b times before)", [Unreported]) || Unreported > 0],
    Slug = warder_operations:slug(Operation),
    ?WARNING_MSG("~ts failed: ~ts, so: ~ts, at ~ts~ts", [Slug, text(Failure), text(Taken), Host, More]).

text(last_known) -> <<"last-known">>;
text(Taken) when Taken =:= not_told; Taken =:= told_again; Taken =:= given_up; Taken =:= not_refreshed ->
    binary:replace(atom_to_binary(Taken), <<"_">>, <<" ">>);
text(Word) ->
    warder_ask:failure_word(Word).

%% @doc Of all hosts that there have been, added up: by operation, class and word, as workers are told.
-spec counts() -> #{binary() => #{binary() => #{binary() => non_neg_integer()}}}.
counts() ->
    All = [Counters || #stats{counters = Counters} <- persistent_term:get(?MODULE, [])],
    Sum = fun(Index) -> lists:sum([counters:get(Counters, Index) || Counters <- All]) end,
    maps:from_list([
        {
            warder_operations:slug(Operation),
            maps:from_list([
                {
                    reported(Class),
                    maps:from_list([{text(Word), Sum(index(Operation, Class, Word))} || Word <- Words])
                }
             || {Class, Words} <- ?CLASSES
            ])
        }
     || Operation <- ?OPERATIONS
    ]).

reported(answered) -> <<"verdicts">>;
reported(Class) -> class(Class).

-spec register_command() -> ok.
register_command() ->
    %% From 25.03 on, ejabberd takes a second one of the same name for an accident.
    Known = [Name || {Name, _, _} <- ejabberd_commands:list_commands()],
    %% Without who defines them: they would not be found again to be unregistered.
    ejabberd_commands:register_commands([
        Command
     || #ejabberd_commands{name = Name} = Command <- commands(), not lists:member(Name, Known)
    ]).

-spec unregister_command() -> ok.
unregister_command() ->
    ejabberd_commands:unregister_commands(commands()).

commands() ->
    [
        #ejabberd_commands{
            name = warder_stats,
            tags = [stats],
            desc = "What Warder was asked by this node, and how it went",
            longdesc =
                "By host and operation: answers and remembered answers by verdict, failures by kind, and what was done "
                "without an answer; then the numbers of each host's near cache and rosters.",
            module = ?MODULE,
            function = command,
            args = [],
            result = {stats, {list, {row, {tuple, ?ROW}}}}
        }
    ].

%% @private
command() ->
    Contexts = [{Host, mod_warder_hosts:find(Host)} || Host <- mod_warder_hosts:list()],
    lists:append([rows(Host, Context) || {Host, {ok, Context}} <- Contexts]).

rows(Host, #{stats := #stats{counters = Counters}, changes := Changes, asker := Asker}) ->
    Asked = [
        {Host, warder_operations:slug(Operation), class(Class), text(Word), Number}
     || Operation <- ?OPERATIONS,
        {Class, Words} <- ?CLASSES,
        Word <- Words,
        Number <- [counters:get(Counters, index(Operation, Class, Word))],
        Number > 0
    ],
    Twice = maps:filter(fun(_, Number) -> Number > 0 end, warder_ask:stats(Asker)),
    Asked ++
        numbers(Host, <<"asked-twice">>, Twice) ++
        numbers(Host, <<"near-cache">>, warder_changes:stats(Changes)) ++
        numbers(Host, <<"rosters">>, mod_warder_roster_refresh:stats(Host)).

class(answered) -> <<"answers">>;
class(remembered) -> <<"remembered">>;
class(failed) -> <<"failures">>;
class(taken) -> <<"fallbacks">>.

numbers(Host, Subject, Numbers) ->
    [{Host, Subject, <<"now">>, text(Name), Number} || {Name, Number} <- lists:sort(maps:to_list(Numbers))].
