%%% What is logged of faults says what and where, and no value.
-module(mod_warder_fault_tests).

-include_lib("eunit/include/eunit.hrl").

-define(SECRET, <<"what she wrote">>).

a_call_that_no_clause_takes_test() ->
    ?assertMatch({match, _}, re:run(fault(fun() -> only_atoms(?SECRET) end), "^error function_clause\n.*only_atoms/1:\\d+")).

a_match_that_fails_test() ->
    ?assertMatch({match, _}, re:run(fault(fun() -> nothing = identity(?SECRET) end), "^error badmatch\n")).

an_exit_of_another_process_test() ->
    Text = fault(fun() -> gen_server:call(mod_warder_fault_tests_nobody, ?SECRET) end),
    ?assertMatch({match, _}, re:run(Text, "^exit noproc\n.*gen_server:call/2")).

what_is_thrown_test() ->
    ?assertMatch({match, _}, re:run(fault(fun() -> throw(?SECRET) end), "^throw without a name\n")).

%% As it stands in the log; there, no text shows a value.
fault(Do) ->
    try Do() of
        _ -> error(no_fault)
    catch
        Class:Reason:Stack ->
            Text = iolist_to_binary(mod_warder_fault:text(Class, Reason, Stack)),
            ?assertEqual(nomatch, binary:match(Text, ?SECRET)),
            ?assertEqual(nomatch, binary:match(Text, <<"<<">>)),
            Text
    end.

only_atoms(Given) when is_atom(Given) -> Given.

identity(Given) -> Given.
