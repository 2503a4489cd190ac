/** What a real ejabberd never asks about. */
import { neverCheck } from './behaviours/never-checked.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

neverCheck(ejabberdKind);
