/** Every subject that the runtime uses (docs/protocol.md). Pure. */

const CALL = /^[\w$-]+\.[\w$-]+\.[\w$-]+$/

/** A call. */
export function callSubject(cage: string, module: string, method: string): string {
  return `${cage}.${module}.${method}`
}

/** Whether a call can go there: a blank or a line's end in a subject would end the connection, or smuggle a command into it. */
export function isCallSubject(subject: string): boolean {
  return CALL.test(subject)
}

/** All methods of a module, known or not: an unknown one is answered with NOT_FOUND. */
export function moduleSubjects(cage: string, module: string): string {
  return `${cage}.${module}.*`
}

/** The method of a call's subject. */
export function methodOf(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1)
}

/** Cancellations for all copies of a cage; the payload is the cancelled call's reply subject. */
export function cancelSubject(cage: string): string {
  return `$CANCEL.${cage}`
}

/** ADR-32: `$SRV.<verb>`, `$SRV.<verb>.<name>`, `$SRV.<verb>.<name>.<id>`. */
export function discoverySubjects(name: string, id: string): string[] {
  return ['PING', 'INFO', 'STATS'].flatMap((verb) => [`$SRV.${verb}`, `$SRV.${verb}.${name}`, `$SRV.${verb}.${name}.${id}`])
}

/** Where a connection tells that it is alive. */
export function aliveSubject(id: string): string {
  return `$ALIVE.${id}`
}

/** All schedules are asked there at once. */
export const ALL_SCHEDULES = '$SCHEDULE.info'

/** What engineers ask one schedule. */
export function scheduleSubject(cage: string, name: string, verb: 'info' | 'run'): string {
  return `$SCHEDULE.${cage}.${name}.${verb}`
}

/** What all copies of cages are asked at once. */
export type SurveyQuestion = 'status' | 'find' | 'tail' | 'log'

/** In place of a cage; no cage has such a name. */
export const ALL_CAGES = '_'

export function surveySubject(what: SurveyQuestion, cage: string = ALL_CAGES): string {
  return `$CAGES.${what}.${cage}`
}
